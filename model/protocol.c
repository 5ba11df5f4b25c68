#include "model/eval.h"

#include <string.h>

int uc_protocol_init(struct uc_protocol *p, const char *name, int64_t window, int64_t stride,
                     int64_t limit, int64_t bos, struct uc_err *err)
{
    memset(p, 0, sizeof(*p));
    if (strcmp(name, "llama") == 0) {
        p->kind = UC_PROTOCOL_LLAMA;
    } else if (strcmp(name, "strided") == 0) {
        p->kind = UC_PROTOCOL_STRIDED;
    } else {
        uc_fail(err, UC_EUSAGE, "unknown evaluation protocol '%s'", name);
        return uc_fix(err, "known protocols: llama, strided");
    }
    if (window < 2 || window > (1 << 20))
        return uc_fail(err, UC_EUSAGE, "window %lld is not between 2 and 2^20", (long long)window);
    if (!stride)
        stride = p->kind == UC_PROTOCOL_LLAMA ? window : window / 2;
    if (stride < 1 || stride > window || (p->kind == UC_PROTOCOL_LLAMA && stride != window))
        return uc_fail(err, UC_EUSAGE, "stride %lld does not fit window %lld of protocol %s",
                       (long long)stride, (long long)window, name);
    if (limit < 0)
        return uc_fail(err, UC_EUSAGE, "limit %lld is negative", (long long)limit);
    p->window = (size_t)window;
    p->stride = (size_t)stride;
    p->limit = (size_t)limit;
    p->bos = p->kind == UC_PROTOCOL_LLAMA && bos >= 0 ? bos : -1;
    return 0;
}

const char *uc_protocol_name(const struct uc_protocol *p)
{
    return p->kind == UC_PROTOCOL_LLAMA ? "llama" : "strided";
}

size_t uc_protocol_windows(const struct uc_protocol *p, size_t n_ids)
{
    size_t n;

    if (p->kind == UC_PROTOCOL_LLAMA)
        n = p->window > 2 ? n_ids / p->window : 0; /* of two tokens the second half scores none */
    else if (n_ids <= p->window)
        n = n_ids > 1;
    else
        n = (n_ids - p->window + p->stride - 1) / p->stride + 1;
    return p->limit && p->limit < n ? p->limit : n;
}

struct uc_span uc_protocol_span(const struct uc_protocol *p, size_t n_ids, size_t window)
{
    struct uc_span s = {.start = window * p->stride, .len = p->window};

    if (p->kind == UC_PROTOCOL_LLAMA) {
        s.first = p->window / 2;
    } else {
        if (s.len > n_ids - s.start)
            s.len = n_ids - s.start;
        /* The first id that no earlier window held is at offset window - stride. */
        s.first = window ? p->window - p->stride - 1 : 0;
        if (window && p->stride == p->window)
            s.first = 0; /* its first id has no context and is never scored */
    }
    s.n_scored = s.len - 1 - s.first;
    return s;
}

size_t uc_protocol_scored(const struct uc_protocol *p, size_t n_ids, size_t w0, size_t n)
{
    size_t scored = 0;

    for (size_t w = w0; w < w0 + n; w++)
        scored += uc_protocol_span(p, n_ids, w).n_scored;
    return scored;
}

void uc_protocol_labels(const struct uc_protocol *p, const uint32_t *ids, size_t n_ids, size_t w0,
                        size_t n, uint32_t *out)
{
    for (size_t w = w0; w < w0 + n; w++) {
        struct uc_span s = uc_protocol_span(p, n_ids, w);

        memcpy(out, ids + s.start + s.first + 1, s.n_scored * sizeof(*ids));
        out += s.n_scored;
    }
}
