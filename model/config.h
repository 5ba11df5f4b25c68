/* Reading config.json's fields: present and sane, or an error that names the field. Room-internal.
 */
#ifndef UC_MODEL_CONFIG_H
#define UC_MODEL_CONFIG_H

#include "model/arch.h"

/* Present and not null. */
bool uc_config_has(const json_t *config, const char *field);
/* A whole number in [1, 2^30]; fallback 0 means that the field must be there. UC_EREFUSED. */
int uc_config_u32(const json_t *config, const char *field, uint32_t fallback, uint32_t *out,
                  struct uc_err *err);
/* rope_parameters{rope_theta, rope_type, ...} or rope_theta + rope_scaling{rope_type or type}. */
int uc_config_rope(const json_t *config, struct uc_rope_params *out, struct uc_err *err);
/* The scaling object alone; out->theta is not touched. */
int uc_config_rope_scaling(const json_t *scaling, struct uc_rope_params *out, struct uc_err *err);

#endif
