/*
 * The command line. Every command and option stands in one table, from which the parser, --help,
 * the man page and the completions are made. A command lives in cmd_<name>.c as
 *
 *     const struct uc_command uc_cmd_<name> = { .name = ..., .run = ... };
 *
 * and is listed in commands.c and meson.build. It prints its result to stdout (one JSON object
 * with --json), everything else to stderr, and returns 0 or the code of its error; main prints the
 * error and turns the code into the exit code (docs/errors.md).
 */
#ifndef UC_CLI_CLI_H
#define UC_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum uc_opt_kind {
    UC_OPT_FLAG, /* no value */
    UC_OPT_INT,  /* whole number, not negative */
    UC_OPT_NUM,  /* decimal number */
    UC_OPT_SIZE, /* "1.5G", "800M", bytes */
    UC_OPT_TEXT,
    UC_OPT_PATH, /* as TEXT; completion offers files */
    UC_OPT_LIST, /* TEXT that may be given several times */
};

struct uc_option {
    const char *name; /* without "--"; NULL ends a list of options */
    char letter;      /* 0: none */
    enum uc_opt_kind kind;
    const char *arg;     /* what --help calls the value; NULL for flags */
    const char *help;    /* one sentence, lower case, no full stop */
    const char *choices; /* "a|b|c": the only values that are taken; NULL: any */
};

struct uc_cli;
struct uc_command {
    const char *name;
    const char *summary;  /* one line */
    const char *usage;    /* what follows the name: "DIR [FILE]" */
    const char *examples; /* lines, each "command   what it does"; first thing in --help */
    const char *about;    /* paragraphs for --help and the man page; may be NULL */
    const struct uc_option *options;
    int min_args, max_args; /* of positional arguments; max -1: any number */
    /* 0; the code of the error; or a positive exit code when all is said already. */
    int (*run)(struct uc_cli *cli, struct uc_err *err);
};

struct uc_opt_value {
    const struct uc_option *option;
    const char *text; /* "" for flags */
};

/* A parsed command line. */
struct uc_cli {
    const struct uc_command *command;
    const char **args; /* positional */
    size_t n_args;
    struct uc_opt_value *values; /* in the order they were given, global ones too */
    size_t n_values;
    bool json, quiet;
    int verbose;
};

/* Values of options; the last one given counts. Text is checked by its kind when parsed, so these
 * do not fail. Asking for a name that is in neither table is a programming error (assert). */
bool uc_cli_flag(const struct uc_cli *cli, const char *name);
bool uc_cli_given(const struct uc_cli *cli, const char *name);
const char *uc_cli_text(const struct uc_cli *cli, const char *name, const char *fallback);
int64_t uc_cli_int(const struct uc_cli *cli, const char *name, int64_t fallback);
double uc_cli_num(const struct uc_cli *cli, const char *name, double fallback);
uint64_t uc_cli_size(const struct uc_cli *cli, const char *name, uint64_t fallback);
/* The i-th value of a LIST option; NULL after the last. */
const char *uc_cli_list(const struct uc_cli *cli, const char *name, size_t i);

/* All commands in the order of `uc help`, NULL-terminated; and the options all of them take. */
extern const struct uc_command *const uc_commands[];
extern const struct uc_option uc_global_options[];
const struct uc_command *uc_command_find(const char *name);

/* argv[0] is the program. cli->command is NULL when there is none (print the overview). "--help"
 * turns into command `help` with the command's name as its argument. UC_EUSAGE with a suggestion.
 */
int uc_cli_parse(int argc, char **argv, struct uc_cli *cli, struct uc_err *err);
void uc_cli_release(struct uc_cli *cli);

/* cmd_tokenize.c: the tokenizer of a model folder, of an artifact, or a tokenizer.json itself. */
struct uc_tokenizer;
struct uc_tokenizer *uc_cli_open_tokenizer(const char *dir, struct uc_err *err);

/* help.c */
void uc_help_overview(FILE *f);
void uc_help_command(FILE *f, const struct uc_command *c);
void uc_help_man(FILE *f);
void uc_help_completion(FILE *f, const char *shell);

/* out.c: what the terminal can do, and printing. */
struct uc_term {
    bool tty, color, utf8;
    int width; /* 20 to 200 columns */
};
/* Of stdout or stderr, from --color, NO_COLOR, TERM, the locale and the window. */
void uc_term_get(const struct uc_cli *cli, FILE *f, struct uc_term *t);
/* Prints the object: pretty with a newline. Takes v. */
void uc_print_json(json_t *v);
/* "error: what / where / fix" to stderr, or with --json {"error": {...}} to stdout. */
void uc_print_error(const struct uc_cli *cli, const struct uc_err *err);
/* Splits "file.lua:12: text" into where and what; *where is empty when the message has no place. */
void uc_error_split(const char *msg, char *where, size_t n, const char **what);

#endif
