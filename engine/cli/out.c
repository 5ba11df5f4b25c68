#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/cli/cli.h"

static int window_width(FILE *f)
{
    struct winsize ws;
    const char *columns = getenv("COLUMNS");
    int w = 80;

    if (ioctl(fileno(f), TIOCGWINSZ, &ws) == 0 && ws.ws_col)
        w = ws.ws_col;
    else if (columns && atoi(columns) > 0)
        w = atoi(columns);
    return w < 20 ? 20 : w > 200 ? 200 : w;
}

void uc_term_get(const struct uc_cli *cli, FILE *f, struct uc_term *t)
{
    const char *color = cli ? uc_cli_text(cli, "color", "auto") : "auto";
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

    setlocale(LC_CTYPE, "");
    t->tty = isatty(fileno(f)) && term && strcmp(term, "dumb");
    t->color = t->tty && !(no_color && no_color[0]);
    if (strcmp(color, "auto"))
        t->color = !strcmp(color, "always");
    t->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
    t->width = window_width(f);
}

void uc_print_json(json_t *v)
{
    char *s = uc_json_pretty(v);

    fputs(s, stdout);
    free(s);
    json_decref(v);
}

/* A place is "name:line: " or "name:line:column: " at the start; names hold no ": ". */
void uc_error_split(const char *msg, char *where, size_t n, const char **what)
{
    const char *end = strstr(msg, ": "), *p;

    *where = 0;
    *what = msg;
    if (!end || end == msg || memchr(msg, '\n', (size_t)(end - msg)))
        return;
    for (p = end; p > msg && isdigit((unsigned char)p[-1]); p--)
        ;
    if (p == end || p == msg || p[-1] != ':' || (size_t)(end - msg) >= n)
        return;
    memcpy(where, msg, (size_t)(end - msg));
    where[end - msg] = 0;
    *what = end + 2;
}

static void print_error_json(const struct uc_err *err, const char *where, const char *what)
{
    json_t *e = json_pack("{s:i, s:s}", "code", uc_exit_code(err->code), "message", what);

    if (!e) /* a message that is not UTF-8: say so rather than nothing */
        e = json_pack("{s:i, s:s}", "code", uc_exit_code(err->code), "message",
                      "(message is not valid UTF-8; run without --json)");
    if (where[0])
        json_object_set_new(e, "where", json_string(where));
    if (err->fix[0])
        json_object_set_new(e, "fix", json_string(err->fix));
    uc_print_json(json_pack("{s:o}", "error", e));
}

void uc_print_error(const struct uc_cli *cli, const struct uc_err *err)
{
    char where[512];
    const char *what;
    struct uc_term t;

    uc_error_split(err->msg, where, sizeof(where), &what);
    if (cli->json) {
        print_error_json(err, where, what);
        return;
    }
    uc_term_get(cli, stderr, &t);
    fprintf(stderr, "%serror:%s %s\n", t.color ? "\033[1;31m" : "", t.color ? "\033[0m" : "", what);
    if (where[0])
        fprintf(stderr, "  where: %s\n", where);
    if (err->fix[0])
        fprintf(stderr, "  fix: %s\n", err->fix);
}
