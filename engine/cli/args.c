#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/cli/cli.h"

enum { MAX_NAMES = 64 };

static const struct uc_option *find_in(const struct uc_option *list, const char *name, size_t n)
{
    for (; list && list->name; list++)
        if (strlen(list->name) == n && !memcmp(list->name, name, n))
            return list;
    return NULL;
}

static const struct uc_option *find_letter(const struct uc_option *list, char c)
{
    for (; list && list->name; list++)
        if (list->letter == c)
            return list;
    return NULL;
}

static bool one_of(const char *choices, const char *text)
{
    size_t n = strlen(text);

    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (!strncmp(p, text, n) && (p[n] == '|' || !p[n]))
            return true;
    return false;
}

static int check_value(const struct uc_option *o, const char *text, struct uc_err *err)
{
    char *end;

    errno = 0;
    switch (o->kind) {
    case UC_OPT_INT:
        if (strtoll(text, &end, 10) < 0 || errno || *end || end == text)
            return uc_fail(err, UC_EUSAGE, "--%s: '%s' is not a whole number", o->name, text);
        break;
    case UC_OPT_NUM:
        if (!isfinite(strtod(text, &end)) || errno || *end || end == text)
            return uc_fail(err, UC_EUSAGE, "--%s: '%s' is not a number", o->name, text);
        break;
    case UC_OPT_SIZE:
        if (uc_str_parse_size(text) < 0)
            return uc_fail(err, UC_EUSAGE, "--%s: '%s' is not a size such as 800M or 1.5G", o->name,
                           text);
        break;
    default:
        break;
    }
    if (o->choices && !one_of(o->choices, text))
        return uc_fail(err, UC_EUSAGE, "--%s: '%s' is not one of %s", o->name, text, o->choices);
    return 0;
}

static int add_value(struct uc_cli *cli, const struct uc_option *o, const char *text,
                     struct uc_err *err)
{
    cli->values[cli->n_values].option = o;
    cli->values[cli->n_values++].text = text;
    if (!strcmp(o->name, "json"))
        cli->json = true;
    else if (!strcmp(o->name, "quiet"))
        cli->quiet = true;
    else if (!strcmp(o->name, "verbose"))
        cli->verbose++;
    return o->kind == UC_OPT_FLAG ? 0 : check_value(o, text, err);
}

/* The command's word: the first argument that is neither an option nor a global option's value.
 * Options of the command may stand before it only when they are global, so this is enough. */
static int find_command(int argc, char **argv, struct uc_cli *cli, struct uc_err *err)
{
    const char *names[MAX_NAMES], *near;
    size_t n = 0;

    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        const struct uc_option *o = NULL;

        if (a[0] != '-' || !a[1]) {
            cli->command = uc_command_find(a);
            if (cli->command)
                return i;
            for (; uc_commands[n] && n < MAX_NAMES; n++)
                names[n] = uc_commands[n]->name;
            near = uc_str_nearest(a, names, n);
            uc_fail(err, UC_EUSAGE, "'%s' is not a uc command", a);
            if (near)
                return uc_fix(err, "did you mean 'uc %s'? `uc help` lists the commands", near);
            return uc_fix(err, "`uc help` lists the commands");
        }
        if (a[1] == '-' && !strchr(a, '='))
            o = find_in(uc_global_options, a + 2, strlen(a + 2));
        else if (a[1] != '-' && !a[2])
            o = find_letter(uc_global_options, a[1]);
        if (o && o->kind != UC_OPT_FLAG)
            i++;
    }
    return 0;
}

static int unknown_option(const struct uc_cli *cli, const char *arg, size_t n, struct uc_err *err)
{
    const char *names[MAX_NAMES];
    const struct uc_option *lists[] = {cli->command ? cli->command->options : NULL,
                                       uc_global_options};
    size_t count = 0;
    char *word = uc_xstrndup(arg, n);
    const char *near;

    for (size_t k = 0; k < UC_COUNT(lists); k++)
        for (const struct uc_option *o = lists[k]; o && o->name && count < MAX_NAMES; o++)
            names[count++] = o->name;
    near = uc_str_nearest(word + strspn(word, "-"), names, count);
    uc_fail(err, UC_EUSAGE, "unknown option '%s'", word);
    if (near)
        uc_fix(err, "did you mean --%s?", near);
    else if (cli->command)
        uc_fix(err, "`uc %s --help` lists the options", cli->command->name);
    else
        uc_fix(err, "`uc help` lists the commands and the options that all of them take");
    free(word);
    return err->code;
}

/* Letters may be joined ("-qv"), and a value may follow its letter ("-j4"). */
static int parse_letters(struct uc_cli *cli, int argc, char **argv, int *i, struct uc_err *err)
{
    const char *a = argv[*i];

    for (const char *p = a + 1; *p; p++) {
        const struct uc_option *o = cli->command ? find_letter(cli->command->options, *p) : NULL;

        if (!o)
            o = find_letter(uc_global_options, *p);
        if (!o)
            return unknown_option(cli, a, strlen(a), err);
        if (o->kind == UC_OPT_FLAG) {
            if (add_value(cli, o, "", err) < 0)
                return err->code;
            continue;
        }
        if (p[1])
            return add_value(cli, o, p + 1, err);
        if (*i + 1 >= argc)
            return uc_fail(err, UC_EUSAGE, "-%c needs a value: %s", *p, o->arg);
        return add_value(cli, o, argv[++*i], err);
    }
    return 0;
}

static int parse_long(struct uc_cli *cli, int argc, char **argv, int *i, struct uc_err *err)
{
    const char *a = argv[*i], *eq = strchr(a, '=');
    size_t n = eq ? (size_t)(eq - a) - 2 : strlen(a + 2);
    const struct uc_option *o = cli->command ? find_in(cli->command->options, a + 2, n) : NULL;

    if (!o)
        o = find_in(uc_global_options, a + 2, n);
    if (!o)
        return unknown_option(cli, a, n + 2, err);
    if (o->kind == UC_OPT_FLAG)
        return eq ? uc_fail(err, UC_EUSAGE, "--%s takes no value", o->name)
                  : add_value(cli, o, "", err);
    if (eq)
        return add_value(cli, o, eq + 1, err);
    if (*i + 1 >= argc)
        return uc_fail(err, UC_EUSAGE, "--%s needs a value: %s", o->name, o->arg);
    return add_value(cli, o, argv[++*i], err);
}

static int count_args(const struct uc_cli *cli, struct uc_err *err)
{
    const struct uc_command *c = cli->command;

    if (!c ||
        ((int)cli->n_args >= c->min_args && (c->max_args < 0 || (int)cli->n_args <= c->max_args)))
        return 0;
    if ((int)cli->n_args < c->min_args)
        uc_fail(err, UC_EUSAGE, "uc %s: an argument is missing", c->name);
    else
        uc_fail(err, UC_EUSAGE, "uc %s: one argument too many: '%s'", c->name,
                cli->args[c->max_args]);
    return uc_fix(err, "usage: uc %s %s", c->name, c->usage);
}

int uc_cli_parse(int argc, char **argv, struct uc_cli *cli, struct uc_err *err)
{
    int at, rc = 0;
    bool only_args = false;

    memset(cli, 0, sizeof(*cli));
    cli->args = uc_xcalloc((size_t)argc + 1, sizeof(*cli->args));
    /* joined letters make more options than arguments */
    size_t room = 1;
    for (int i = 1; i < argc; i++)
        room += strlen(argv[i]) + 1;
    cli->values = uc_xcalloc(room, sizeof(*cli->values));
    /* errors below this line are printed in the way that --json asks for, wherever it stands */
    for (int i = 1; i < argc; i++)
        cli->json |= !strcmp(argv[i], "--json");
    at = find_command(argc, argv, cli, err);
    if (at < 0)
        return at;
    for (int i = 1; i < argc && rc == 0; i++) {
        if (i == at)
            continue;
        if (only_args || argv[i][0] != '-' || !argv[i][1])
            cli->args[cli->n_args++] = argv[i];
        else if (!strcmp(argv[i], "--"))
            only_args = true;
        else if (argv[i][1] == '-')
            rc = parse_long(cli, argc, argv, &i, err);
        else
            rc = parse_letters(cli, argc, argv, &i, err);
    }
    if (rc < 0)
        return rc;
    if (uc_cli_flag(cli, "help")) {
        cli->n_args = 0;
        if (cli->command)
            cli->args[cli->n_args++] = cli->command->name;
        cli->command = uc_command_find("help");
        return 0;
    }
    if (uc_cli_flag(cli, "version")) {
        cli->n_args = 0;
        cli->command = uc_command_find("version");
        return 0;
    }
    return count_args(cli, err);
}

void uc_cli_release(struct uc_cli *cli)
{
    free(cli->args);
    free(cli->values);
    memset(cli, 0, sizeof(*cli));
}

static const struct uc_opt_value *last(const struct uc_cli *cli, const char *name)
{
    assert(find_in(uc_global_options, name, strlen(name)) ||
           (cli->command && find_in(cli->command->options, name, strlen(name))));
    for (size_t i = cli->n_values; i-- > 0;)
        if (!strcmp(cli->values[i].option->name, name))
            return &cli->values[i];
    return NULL;
}

bool uc_cli_flag(const struct uc_cli *cli, const char *name)
{
    return last(cli, name) != NULL;
}

bool uc_cli_given(const struct uc_cli *cli, const char *name)
{
    return last(cli, name) != NULL;
}

const char *uc_cli_text(const struct uc_cli *cli, const char *name, const char *fallback)
{
    const struct uc_opt_value *v = last(cli, name);

    return v ? v->text : fallback;
}

int64_t uc_cli_int(const struct uc_cli *cli, const char *name, int64_t fallback)
{
    const struct uc_opt_value *v = last(cli, name);

    return v ? strtoll(v->text, NULL, 10) : fallback;
}

double uc_cli_num(const struct uc_cli *cli, const char *name, double fallback)
{
    const struct uc_opt_value *v = last(cli, name);

    return v ? strtod(v->text, NULL) : fallback;
}

uint64_t uc_cli_size(const struct uc_cli *cli, const char *name, uint64_t fallback)
{
    const struct uc_opt_value *v = last(cli, name);

    return v ? (uint64_t)uc_str_parse_size(v->text) : fallback;
}

const char *uc_cli_list(const struct uc_cli *cli, const char *name, size_t i)
{
    last(cli, name);
    for (size_t k = 0; k < cli->n_values; k++)
        if (!strcmp(cli->values[k].option->name, name) && i-- == 0)
            return cli->values[k].text;
    return NULL;
}
