#include "model/config.h"

#include <string.h>

#include "base/json.h"

bool uc_config_has(const json_t *config, const char *field)
{
    const json_t *v = json_object_get(config, field);

    return v && !json_is_null(v);
}

int uc_config_u32(const json_t *config, const char *field, uint32_t fallback, uint32_t *out,
                  struct uc_err *err)
{
    const json_t *v = json_object_get(config, field);

    if (!uc_config_has(config, field)) {
        *out = fallback;
        return fallback ? 0 : uc_fail(err, UC_EREFUSED, "field '%s' is missing", field);
    }
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > (1 << 30))
        return uc_fail(err, UC_EREFUSED, "field '%s' must be a whole number of 1 to 2^30", field);
    *out = (uint32_t)json_integer_value(v);
    return 0;
}

int uc_config_rope_scaling(const json_t *scaling, struct uc_rope_params *out, struct uc_err *err)
{
    const char *type = uc_json_str(scaling, "rope_type", uc_json_str(scaling, "type", "default"));
    int rc;

    out->type = UC_ROPE_DEFAULT;
    if (strcmp(type, "default") == 0)
        return 0;
    if (strcmp(type, "llama3") != 0) {
        uc_fail(err, UC_EREFUSED, "rotary scaling '%s' is not supported", type);
        return uc_fix(err, "supported: default, llama3");
    }
    out->type = UC_ROPE_LLAMA3;
    out->factor = uc_json_num(scaling, "factor", 0);
    out->low_freq_factor = uc_json_num(scaling, "low_freq_factor", 0);
    out->high_freq_factor = uc_json_num(scaling, "high_freq_factor", 0);
    rc = uc_config_u32(scaling, "original_max_position_embeddings", 0, &out->original_positions,
                       err);
    if (rc < 0)
        return uc_within(err, "rotary scaling llama3");
    if (!(out->factor >= 1) || !(out->low_freq_factor > 0) ||
        !(out->high_freq_factor > out->low_freq_factor))
        return uc_fail(err, UC_EREFUSED,
                       "rotary scaling llama3 needs factor >= 1 and 0 < low_freq_factor < "
                       "high_freq_factor");
    return 0;
}

int uc_config_rope(const json_t *config, struct uc_rope_params *out, struct uc_err *err)
{
    const json_t *params = json_object_get(config, "rope_parameters");
    const json_t *scaling = json_object_get(config, "rope_scaling");

    memset(out, 0, sizeof(*out));
    out->theta = uc_json_num(config, "rope_theta", 10000.0);
    if (json_is_object(params)) {
        out->theta = uc_json_num(params, "rope_theta", out->theta);
        return uc_config_rope_scaling(params, out, err);
    }
    if (json_is_object(scaling))
        return uc_config_rope_scaling(scaling, out, err);
    return 0;
}
