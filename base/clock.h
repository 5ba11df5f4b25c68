/* Monotonic seconds (for durations and leases, never for keys). */
#ifndef UC_BASE_CLOCK_H
#define UC_BASE_CLOCK_H

double uc_now(void);
/* CPU seconds of this process and its waited-for children. */
double uc_cpu_seconds(void);

#endif
