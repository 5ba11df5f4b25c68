#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fsio.h"
#include "base/mem.h"
#include "engine/cli/cli.h"
#include "formats/tokenizer.h"

static const struct uc_option options[] = {
    {"special", 0, UC_OPT_FLAG, NULL,
     "put the special tokens around it that the tokenizer asks for", NULL},
    {"decode", 'd', UC_OPT_FLAG, NULL, "read ids and print their text", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

/* DIR/tokenizer.json, as in checkpoints, or DIR/tokenizer/tokenizer.json, as in artifacts; or the
 * file itself. */
struct uc_tokenizer *uc_cli_open_tokenizer(const char *dir, struct uc_err *err)
{
    char *flat = uc_path_join(dir, "tokenizer.json");
    char *deep = uc_path_join(dir, "tokenizer/tokenizer.json");
    struct uc_tokenizer *t = NULL;
    struct stat st;

    if (stat(dir, &st) < 0)
        uc_fail_errno(err, "%s", dir);
    else if (!S_ISDIR(st.st_mode))
        t = uc_tokenizer_open(dir, err);
    else if (stat(deep, &st) == 0)
        t = uc_tokenizer_open(deep, err);
    else
        t = uc_tokenizer_open(flat, err);
    free(flat);
    free(deep);
    return t;
}

static void print_ids(const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf(i ? " %u" : "%u", ids[i]);
    putchar('\n');
}

static json_t *ids_json(const uint32_t *ids, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return json_pack("{s:I, s:o}", "count", (json_int_t)n, "ids", list);
}

static int encode(struct uc_cli *cli, const struct uc_tokenizer *t, const char *text, size_t n,
                  struct uc_err *err)
{
    uint32_t *ids;
    size_t n_ids;
    int rc = uc_tokenizer_encode(t, text, n, uc_cli_flag(cli, "special"), &ids, &n_ids, err);

    if (rc < 0)
        return rc;
    if (cli->json)
        uc_print_json(ids_json(ids, n_ids));
    else
        print_ids(ids, n_ids);
    free(ids);
    return 0;
}

/* Decimal numbers between blanks. */
static int read_ids(const char *text, size_t n, uint32_t *ids, size_t *n_ids, struct uc_err *err)
{
    const char *p = text, *end = text + n;

    for (*n_ids = 0;;) {
        unsigned long v;
        char *after;
        p += strspn(p, " \t\r\n");
        if (p == end)
            return 0;
        v = strtoul(p, &after, 10);
        if (after == p || *p < '0' || *p > '9' || v > UINT32_MAX)
            return uc_fail(err, UC_EUSAGE, "byte %zu: not a token id", (size_t)(p - text));
        ids[(*n_ids)++] = (uint32_t)v;
        p = after;
    }
}

static int decode(const struct uc_cli *cli, const struct uc_tokenizer *t, const char *text,
                  size_t n, struct uc_err *err)
{
    uint32_t *ids = NULL;
    struct uc_buf out;
    size_t n_ids;
    int rc = uc_alloc(&ids, n / 2 + 1, sizeof(*ids), "token ids", err);

    uc_buf_init(&out, (size_t)1 << 30);
    if (rc == 0)
        rc = read_ids(text, n, ids, &n_ids, err);
    if (rc == 0)
        rc = uc_tokenizer_decode(t, ids, n_ids, false, &out, err);
    if (rc == 0 && cli->json)
        uc_print_json(json_pack("{s:s%}", "text", uc_buf_str(&out), out.len));
    else if (rc == 0)
        fwrite(uc_buf_str(&out), 1, out.len, stdout);
    uc_buf_release(&out);
    free(ids);
    return rc;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *file = cli->n_args > 1 ? cli->args[1] : "/dev/stdin";
    struct uc_tokenizer *t = uc_cli_open_tokenizer(cli->args[0], err);
    char *text = NULL;
    size_t n_text;
    int rc;

    if (!t)
        return err->code;
    rc = uc_read_file(file, 0, &text, &n_text, err);
    if (rc == 0) {
        rc = uc_cli_flag(cli, "decode") ? decode(cli, t, text, n_text, err)
                                        : encode(cli, t, text, n_text, err);
        if (rc < 0)
            uc_within(err, "%s", file);
    }
    free(text);
    uc_tokenizer_free(t);
    return rc;
}

const struct uc_command uc_cmd_tokenize = {
    .name = "tokenize",
    .summary = "token ids of a text, and back",
    .usage = "DIR [FILE]",
    .examples = "uc tokenize models/smollm2 story.txt   ids of the file, on one line\n"
                "echo hello | uc tokenize models/smollm2   of what comes in",
    .about = "DIR is a model's folder, an artifact or a tokenizer.json. Without FILE the text is\n"
             "read from standard input. No special tokens are added unless --special asks for\n"
             "them; those that stand in the text are recognized.",
    .options = options,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
