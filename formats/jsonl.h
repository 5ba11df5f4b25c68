/*
 * Calibration and evaluation texts: plain UTF-8 text, or JSONL with one sample a line.
 *
 * A sample is one of
 *   {"text": s}                                  s
 *   {"prompt": p, "response": r}                 p, line feed, r
 *   {"instruction": i, "input": n, "output": o}  i, line feed, n, line feed, o ("input" may be
 * absent or empty, and then its line is, too)
 *   {"messages": [{"role", "content"}, ...]}     the contents, joined by line feeds
 *   {"conversations": [{"from", "value"}, ...]}  the values, joined by line feeds
 * Other members are ignored. No chat template is applied. A line feed ends every sample.
 */
#ifndef UC_FORMATS_JSONL_H
#define UC_FORMATS_JSONL_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

enum uc_text_format { UC_TEXT_PLAIN, UC_TEXT_JSONL };

/* "text" or "jsonl"; -1: neither. */
int uc_text_format_parse(const char *name);

/* text holds n bytes and a NUL, valid during the call; line counts from 1. A negative return ends
 * the reading and is passed on. */
typedef int uc_jsonl_fn(void *arg, size_t line, const char *text, size_t n, struct uc_err *err);

/* Calls fn for every sample of p[0..n), which are whole lines; blank lines are skipped. Errors
 * (UC_EREFUSED) start with "what:line: ". fn may be NULL: the lines are only checked. */
int uc_jsonl_each(const char *p, size_t n, const char *what, uc_jsonl_fn *fn, void *arg,
                  struct uc_err *err);

/* A shard of a text file. */
struct uc_text_slice {
    uint64_t offset, size;
    struct uc_digest digest; /* SHA-256 of the bytes */
};

/*
 * Cuts a file into shards of about shard_bytes (0: one shard), at ends of lines; plain text without
 * line ends is cut between characters. The k-th cut depends only on bytes up to a little behind
 * k * shard_bytes, so appending to the file changes its last shard and adds new ones, no more.
 * The whole file is checked: not empty, UTF-8, and for JSONL every line a sample (UC_EREFUSED, with
 * the line). Caller frees *out.
 */
int uc_text_slices(const char *path, enum uc_text_format format, uint64_t shard_bytes,
                   struct uc_text_slice **out, size_t *n, struct uc_err *err);

#endif
