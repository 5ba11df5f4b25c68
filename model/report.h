/* Figures of a model against its source from the scores of single tokens. Room-internal. */
#ifndef UC_MODEL_REPORT_H
#define UC_MODEL_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "kernels/loss.h"
#include "model/eval.h"

/* scores [n]; pair false: only the source's own figures. Means and errors are fp64 sums in token
 * order with our own exp, so equal scores give equal text. */
int uc_eval_report(const struct uc_eval *e, const struct uc_token_score *scores, size_t n,
                   bool pair, uint64_t text_bytes, json_t **report, struct uc_err *err);

#endif
