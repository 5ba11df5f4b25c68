/* Help, man page and completions, all made from the tables of commands and options. */
#include <ctype.h>
#include <string.h>

#include "engine/cli/cli.h"

static const char intro[] =
    "uc compresses language models. A Lua recipe becomes a graph of actions; only what changed\n"
    "runs, and the compressed folder's every byte can be traced to its inputs.\n";

void uc_help_overview(FILE *f)
{
    fprintf(f, "uc %s\n\n%s\nusage: uc COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n", UC_VERSION,
            intro);
    for (size_t i = 0; uc_commands[i]; i++)
        fprintf(f, "  %-11s %s\n", uc_commands[i]->name, uc_commands[i]->summary);
    fputs("\nfirst steps:\n"
          "  uc build examples/tiny.uc.lua   compress the small model that comes with uc\n"
          "  uc help COMMAND                 what a command does, with examples\n",
          f);
}

static void print_options(FILE *f, const struct uc_option *o)
{
    for (; o && o->name; o++) {
        char left[80];
        int n = snprintf(left, sizeof(left), "%c%c%c --%s", o->letter ? '-' : ' ',
                         o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name);

        if (o->arg && n > 0 && (size_t)n < sizeof(left))
            snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
        fprintf(f, "  %-27s %s%s%s%s\n", left, o->help, o->choices ? " (" : "",
                o->choices ? o->choices : "", o->choices ? ")" : "");
    }
}

static void print_lines(FILE *f, const char *indent, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");

        fprintf(f, "%s%.*s\n", n ? indent : "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

void uc_help_command(FILE *f, const struct uc_command *c)
{
    fprintf(f, "uc %s: %s\n\n", c->name, c->summary);
    if (c->examples) {
        fputs("examples:\n", f);
        print_lines(f, "  ", c->examples);
        fputc('\n', f);
    }
    fprintf(f, "usage: uc %s %s\n", c->name, c->usage);
    if (c->about) {
        fputc('\n', f);
        print_lines(f, "", c->about);
    }
    if (c->options && c->options->name) {
        fputs("\noptions:\n", f);
        print_options(f, c->options);
    }
    fputs("\noptions of all commands, before or after the command:\n", f);
    print_options(f, uc_global_options);
}

/* roff: a leading dot or quote and every backslash and hyphen-minus must be escaped. */
static void roff_text(FILE *f, const char *s)
{
    bool start = true;

    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            fputs("\\&", f);
        if (*s == '\\')
            fputs("\\e", f);
        else if (*s == '-')
            fputs("\\-", f);
        else
            fputc(*s, f);
        start = *s == '\n';
    }
}

static void roff_options(FILE *f, const struct uc_option *o)
{
    for (; o && o->name; o++) {
        fputs(".TP\n.B ", f);
        if (o->letter)
            fprintf(f, "\\-%c, ", o->letter);
        fputs("\\-\\-", f);
        roff_text(f, o->name);
        if (o->arg)
            fprintf(f, " \\fI%s\\fR", o->arg);
        fputc('\n', f);
        roff_text(f, o->help);
        if (o->choices) {
            fputs(" (", f);
            roff_text(f, o->choices);
            fputc(')', f);
        }
        fputs(".\n", f);
    }
}

static void roff_block(FILE *f, const char *text)
{
    fputs(".PP\n.nf\n", f);
    roff_text(f, text);
    fputs("\n.fi\n", f);
}

void uc_help_man(FILE *f)
{
    fprintf(f,
            ".TH UC 1 \"\" \"uc %s\" \"User Commands\"\n.SH NAME\nuc \\- compress language "
            "models from Lua recipes\n.SH SYNOPSIS\n.B uc\n.I COMMAND\n[ARGUMENTS] [OPTIONS]\n"
            ".SH DESCRIPTION\n",
            UC_VERSION);
    roff_text(f, intro);
    fputs(".SH GLOBAL OPTIONS\nTaken before and after the command.\n", f);
    roff_options(f, uc_global_options);
    fputs(".SH COMMANDS\n", f);
    for (size_t i = 0; uc_commands[i]; i++) {
        const struct uc_command *c = uc_commands[i];

        fprintf(f, ".SS uc %s ", c->name);
        roff_text(f, c->usage);
        fputc('\n', f);
        roff_text(f, c->summary);
        fputs(".\n", f);
        if (c->about)
            roff_block(f, c->about);
        if (c->examples)
            roff_block(f, c->examples);
        roff_options(f, c->options);
    }
    fputs(".SH EXIT STATUS\n.nf\n"
          "0    done, also when nothing had to be done\n"
          "1    failed, or a verification failed\n"
          "2    the command line or the recipe is wrong\n"
          "3    refused: unsupported, already quantized or unsafe input\n"
          "4    built, but a quality gate failed\n"
          "5    no access\n"
          "6    not enough disk, memory or device\n"
          "7    another run holds it, or the cache is of another version\n"
          "10   uc plan \\-\\-check: work would be needed\n"
          "130  interrupted\n.fi\n",
          f);
}

static void bash_words(FILE *f, const struct uc_option *o)
{
    for (; o && o->name; o++)
        fprintf(f, " --%s", o->name);
}

static void bash_completion(FILE *f)
{
    fputs("_uc()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} cmd= w words\n"
          "    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
          "        [[ $w != -* ]] && { cmd=$w; break; }\n    done\n    case $cmd in\n    '') "
          "words=\"",
          f);
    for (size_t i = 0; uc_commands[i]; i++)
        fprintf(f, "%s%s", i ? " " : "", uc_commands[i]->name);
    bash_words(f, uc_global_options);
    fputs("\" ;;\n", f);
    for (size_t i = 0; uc_commands[i]; i++) {
        fprintf(f, "    %s) words=\"", uc_commands[i]->name);
        bash_words(f, uc_commands[i]->options);
        bash_words(f, uc_global_options);
        fputs("\" ;;\n", f);
    }
    fputs("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
          "complete -o default -F _uc uc\n",
          f);
}

static void zsh_completion(FILE *f)
{
    fputs("#compdef uc\nautoload -U bashcompinit && bashcompinit\n", f);
    bash_completion(f);
}

static void fish_options(FILE *f, const char *when, const struct uc_option *o)
{
    for (; o && o->name; o++) {
        fprintf(f, "complete -c uc%s -l %s", when, o->name);
        if (o->letter)
            fprintf(f, " -s %c", o->letter);
        fprintf(f, "%s -d '%s'\n", o->kind == UC_OPT_FLAG ? "" : " -r", o->help);
    }
}

static void fish_completion(FILE *f)
{
    char when[128];

    for (size_t i = 0; uc_commands[i]; i++)
        fprintf(f, "complete -c uc -n __fish_use_subcommand -a %s -d '%s'\n", uc_commands[i]->name,
                uc_commands[i]->summary);
    fish_options(f, "", uc_global_options);
    for (size_t i = 0; uc_commands[i]; i++) {
        snprintf(when, sizeof(when), " -n '__fish_seen_subcommand_from %s'", uc_commands[i]->name);
        fish_options(f, when, uc_commands[i]->options);
    }
}

void uc_help_completion(FILE *f, const char *shell)
{
    if (!strcmp(shell, "fish"))
        fish_completion(f);
    else if (!strcmp(shell, "zsh"))
        zsh_completion(f);
    else
        bash_completion(f);
}
