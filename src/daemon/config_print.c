/* SPDX-License-Identifier: Apache-2.0 */
/* What the table of keys says for people: the commented configuration, and the manual page. */
#include <ctype.h>

#include "daemon/config_table.h"

#define COMMENT_WIDTH 96

static const char *const when_texts[] = {
    [CONFIG_RELOAD] = "A reload (SIGHUP) takes up a new value.",
    [CONFIG_RESTART] = "A restart takes up a new value.",
    [CONFIG_SETUP] = "Used when the certificates are made, by the first start.",
};

/* Writes text in lines of `# `, broken at spaces. */
static void print_comment(FILE *file, const char *text)
{
    while (*text != '\0') {
        size_t length = strlen(text);
        if (length > COMMENT_WIDTH) {
            length = COMMENT_WIDTH;
            while (length > 0 && text[length] != ' ')
                length--;
            if (length == 0)
                length = strcspn(text, " ");
        }
        fprintf(file, "# %.*s\n", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

static void describe(const struct config_row *row, char *text, size_t size)
{
    struct buffer to;
    buffer_over(&to, text, size - 1);
    row->type->describe(row, &to);
    text[to.size] = '\0';
    text[0] = (char)toupper((unsigned char)text[0]);
}

static void print_choices(FILE *file, const struct config_row *row)
{
    for (size_t i = 0; i < CONFIG_WORD_COUNT; i++) {
        if (config_choices[i].key != row->key)
            continue;
        char line[600];
        (void)snprintf(line, sizeof(line), "- %s: %s", config_choices[i].word,
                       config_choices[i].text);
        print_comment(file, line);
    }
}

static void print_key(FILE *file, const struct config *config, const struct config_row *row)
{
    char line[600], value[CONFIG_TEXT_SIZE + 1];
    fputc('\n', file);
    print_comment(file, row->text);
    print_choices(file, row);
    describe(row, line, sizeof(line));
    size_t length = strlen(line);
    (void)snprintf(line + length, sizeof(line) - length, ". %s", when_texts[row->when]);
    print_comment(file, line);

    struct buffer text;
    buffer_over(&text, value, sizeof(value) - 1);
    row->type->print((const char *)config + row->offset, &text);
    value[text.size] = '\0';
    bool is_default = strcmp(value, row->default_text) == 0;
    fprintf(file, "%s%s =%s%s\n", is_default ? "#" : "", config_written_name(row->name).text,
            value[0] != '\0' ? " " : "", value);
}

bool config_print(const struct config *config, FILE *file)
{
    fprintf(file, "# kmipd.conf: configuration of kmipd(8), see kmipd.conf(5).\n"
                  "# Keys that are commented out have the value shown.\n");
    for (size_t s = 0; s < config_section_count; s++) {
        fputc('\n', file);
        print_comment(file, config_sections[s].text);
        fprintf(file, "[%s]\n", config_written_name(config_sections[s].name).text);
        for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
            if (strcmp(config_rows[i].section, config_sections[s].name) == 0)
                print_key(file, config, &config_rows[i]);
    }
    return fflush(file) == 0 && ferror(file) == 0;
}

/* ---- The manual page ---- */

/* Text as roff(7) wants it: '-' that stays one, no backslash, no request at a line's beginning. */
static void print_roff(FILE *file, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", file);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", file);
        else if (*text == '-')
            fputs("\\-", file);
        else
            fputc(*text, file);
    }
}

static void manual_choices(FILE *file, const struct config_row *row)
{
    bool any = false;
    for (size_t i = 0; i < CONFIG_WORD_COUNT; i++) {
        if (config_choices[i].key != row->key)
            continue;
        fputs(any ? ".TP\n.B " : ".RS\n.TP\n.B ", file);
        any = true;
        print_roff(file, config_choices[i].word);
        fputc('\n', file);
        print_roff(file, config_choices[i].text);
        fputc('\n', file);
    }
    if (any)
        fputs(".RE\n.IP\n", file);
}

static void manual_key(FILE *file, const struct config_row *row)
{
    char allowed[600];
    fputs(".TP\n.B ", file);
    print_roff(file, config_written_name(row->name).text);
    fputc('\n', file);
    print_roff(file, row->text);
    fputc('\n', file);
    manual_choices(file, row);
    describe(row, allowed, sizeof(allowed));
    fputs(row->type == &config_type_WORD ? "" : ".br\n", file);
    print_roff(file, allowed);
    fputs(row->default_text[0] != '\0' ? "; default \\fB" : "; default empty", file);
    print_roff(file, row->default_text);
    fputs(row->default_text[0] != '\0' ? "\\fR.\n" : ".\n", file);
    print_roff(file, when_texts[row->when]);
    fputc('\n', file);
}

static const char manual_head[] =
    ".\\\" SPDX-License-Identifier: Apache-2.0\n"
    ".\\\" Written by kmipd --print-man-config from its table of keys.\n"
    ".TH KMIPD.CONF 5 \"\" \"kmipd " KMIPD_VERSION "\" \"Configuration\"\n"
    ".SH NAME\n"
    "kmipd.conf \\- configuration of the KMIP key management server kmipd\n"
    ".SH SYNOPSIS\n"
    ".B kmipd \\-\\-config\n"
    ".I FILE\n"
    ".SH DESCRIPTION\n"
    "Without \\-\\-config, every key has its default. The file has sections in brackets, lines of\n"
    ".IR key \" = \" value ,\n"
    "and comments, which are lines that begin with # or ;. A key or section that is not named\n"
    "here, a key that stands twice, and a value out of its range are errors: the server does not\n"
    "start, and a reload keeps the configuration that is in force.\n"
    ".B kmipd \\-\\-check\\-config\n"
    "names each mistake with its line;\n"
    ".B kmipd \\-\\-print\\-config\n"
    "writes the configuration in force with all of this text as comments.\n"
    ".PP\n"
    "Sizes are written with B, KiB, MiB or GiB, times with ms, s, min, h or d.\n"
    "No key holds a secret: secrets are in files of their own, in systemd credentials, or are\n"
    "asked for on the terminal.\n";

static const char manual_tail[] = ".SH SEE ALSO\n"
                                  ".BR kmipd (8),\n"
                                  ".BR kmipctl (8)\n";

bool config_print_manual(FILE *file)
{
    fputs(manual_head, file);
    for (size_t s = 0; s < config_section_count; s++) {
        fputs(".SH [", file);
        print_roff(file, config_written_name(config_sections[s].name).text);
        fputs("]\n", file);
        print_roff(file, config_sections[s].text);
        fputc('\n', file);
        for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
            if (strcmp(config_rows[i].section, config_sections[s].name) == 0)
                manual_key(file, &config_rows[i]);
    }
    fputs(manual_tail, file);
    return fflush(file) == 0 && ferror(file) == 0;
}
