/* Messages to stderr. The library only warns and debugs; results and progress are the CLI's. */
#ifndef UC_BASE_LOG_H
#define UC_BASE_LOG_H

enum uc_log_level { UC_LOG_QUIET, UC_LOG_WARN, UC_LOG_INFO, UC_LOG_DEBUG };

void uc_log_set_level(enum uc_log_level level);
enum uc_log_level uc_log_level(void);
void uc_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void uc_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void uc_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
