#include "engine/cli/summary.h"

#include "base/json.h"
#include "base/str.h"

static json_t *part(const json_t *o, const char *name)
{
    return json_object_get(o, name);
}

void uc_quality_print(const json_t *q)
{
    double source = uc_json_num(q, "ppl_source", 0);

    if (!json_is_object(q))
        return;
    if (!part(q, "ppl")) {
        printf("  perplexity  %.3f (+- %.3f)\n", source, uc_json_num(q, "ppl_source_se", 0));
    } else {
        printf("  perplexity  %.3f -> %.3f  (x %.3f +- %.3f)\n", source, uc_json_num(q, "ppl", 0),
               uc_json_num(q, "ppl_ratio", 0), uc_json_num(q, "ppl_ratio_se", 0));
        printf("  divergence  KLD mean %.4f +- %.4f, median %.4f, 99th percentile %.3f\n",
               uc_json_num(q, "kld_mean", 0), uc_json_num(q, "kld_mean_se", 0),
               uc_json_num(q, "kld_median", 0), uc_json_num(q, "kld_p99", 0));
        printf("  agreement   top-1 %.1f %%, top-10 %.1f %%; retention T1 %.3f, T10 %.3f\n",
               100 * uc_json_num(q, "top1_agreement", 0),
               100 * uc_json_num(q, "top10_agreement", 0), uc_json_num(q, "t1_retention", 0),
               uc_json_num(q, "t10_retention", 0));
    }
    printf("  measured    on %lld tokens of %s, protocol %s, window %lld\n",
           (long long)uc_json_int(q, "n_tokens", 0), uc_json_str(q, "text", "the text"),
           uc_json_str(q, "protocol", "?"), (long long)uc_json_int(q, "window", 0));
}

static void print_sizes(const json_t *m)
{
    const json_t *bits = part(m, "bits");
    char before[32], after[32];

    uc_str_bytes(before, (uint64_t)uc_json_int(part(m, "source"), "weight_bytes", 0));
    uc_str_bytes(after, (uint64_t)uc_json_int(bits, "weight_bytes", 0));
    printf("  size        %s -> %s, %.4f bits a weight all in, body %.4f\n", before, after,
           uc_json_num(bits, "bpw", 0), uc_json_num(bits, "bpw_body", 0));
}

void uc_summary_print(const struct uc_cli *cli, const struct uc_summary *s)
{
    const json_t *q = json_array_get(part(s->manifest, "quality"), 0);
    char took[32], saved[32], rss[32];

    uc_str_seconds(took, s->seconds);
    uc_str_seconds(saved, s->saved);
    uc_str_bytes(rss, s->peak_rss);
    if (!s->n_ran && !s->changed)
        printf("%s: nothing had to be done (%s)\n", s->name, took);
    else if (!s->changed)
        printf("%s: still right; %zu actions ran to see that (%s)\n", s->name, s->n_ran, took);
    else
        printf("%s: built in %s\n", s->name, took);
    if (s->manifest)
        print_sizes(s->manifest);
    uc_quality_print(q);
    if (s->n_ran)
        printf("  work        %zu of %zu actions ran, %zu cached (saved %s)\n"
               "  memory      %s in the largest worker\n",
               s->n_ran, s->n_actions, s->n_hit, saved, rss);
    if (s->dir)
        printf("  folder      %s\n", s->dir);
    if (s->dir && s->manifest && (s->n_ran || s->changed))
        printf("next: uc verify %s\n      uc export %s --format dense -o DIR\n", s->dir, s->dir);
}

json_t *uc_summary_json(const struct uc_summary *s)
{
    json_t *o = json_object();
    const json_t *m = s->manifest;

    json_object_set_new(o, "artifact", json_string(s->name));
    if (s->dir)
        json_object_set_new(o, "dir", json_string(s->dir));
    json_object_set_new(o, "changed", json_boolean(s->changed));
    json_object_set_new(o, "seconds", json_real(s->seconds));
    json_object_set_new(o, "saved_seconds", json_real(s->saved));
    json_object_set_new(o, "peak_rss", json_integer((json_int_t)s->peak_rss));
    json_object_set_new(o, "actions", json_integer((json_int_t)s->n_actions));
    json_object_set_new(o, "cached", json_integer((json_int_t)s->n_hit));
    json_object_set_new(o, "ran", json_integer((json_int_t)s->n_ran));
    if (m) {
        json_object_set(o, "bits", part(m, "bits"));
        json_object_set(o, "quality", part(m, "quality"));
        json_object_set(o, "artifact_fingerprint", part(m, "artifact_fingerprint"));
    }
    return o;
}
