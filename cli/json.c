#include "json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cli.h"

void json_init(struct json *j, FILE *out, enum json_style style)
{
	memset(j, 0, sizeof(*j));
	j->out = out;
	j->style = style;
}

/* ------------------------------------------------------------------------- */
/* Text                                                                      */

/* Returns the length of the sequence that @lead announces; 0 for none. */
static size_t announced(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc0)
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
}

static bool is_character(uint32_t cp, size_t len)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (len > 1 && cp < smallest[len])
		return false;
	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return false;
	/* These are never characters in any text. */
	return (cp & 0xfffe) != 0xfffe && !(cp >= 0xfdd0 && cp <= 0xfdef);
}

/* Reads one character, or U+FFFD for a sequence that is none.  Returns the
 * number of bytes it took, at least 1. */
static size_t next_char(const char *s, uint32_t *cp)
{
	size_t len = announced((unsigned char)s[0]);
	size_t i = 1;
	uint32_t v;

	*cp = 0xfffd;
	if (len == 0)
		return 1;
	v = len == 1 ? (unsigned char)s[0]
		     : (unsigned char)s[0] & (0x7fu >> len);
	for (; i < len && ((unsigned char)s[i] & 0xc0) == 0x80; i++)
		v = v << 6 | ((unsigned char)s[i] & 0x3f);
	if (i == len && is_character(v, len))
		*cp = v;
	return i;
}

/* Returns the escape of one letter for @cp, 0 if it has none. */
static char short_escape(uint32_t cp)
{
	static const char from[] = "\"\\\b\f\n\r\t";
	static const char to[] = "\"\\bfnrt";
	const char *p = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;

	return p ? to[p - from] : '\0';
}

static void put_char(FILE *out, uint32_t cp)
{
	char letter = short_escape(cp);

	if (letter)
		fprintf(out, "\\%c", letter);
	else if (cp >= 0x20 && cp < 0x7f)
		fputc((int)cp, out);
	else if (cp < 0x10000)
		fprintf(out, "\\u%04" PRIX32, cp);
	else
		fprintf(out, "\\u%04" PRIX32 "\\u%04" PRIX32,
			0xd800 + ((cp - 0x10000) >> 10),
			0xdc00 + ((cp - 0x10000) & 0x3ff));
}

static void put_text(FILE *out, const char *s)
{
	uint32_t cp;

	fputc('"', out);
	while (*s) {
		s += next_char(s, &cp);
		put_char(out, cp);
	}
	fputc('"', out);
}

/* ------------------------------------------------------------------------- */
/* Layout                                                                    */

static void indent(const struct json *j)
{
	fprintf(j->out, "%*s", 4 * (int)j->depth, "");
}

static void outline_key(const struct json *j, const char *key)
{
	indent(j);
	if (key)
		for (; *key; key++)
			fputc(*key == '-' ? ' ' : *key, j->out);
	else
		fprintf(j->out, "[%u]", j->n_items[j->depth]);
	fputc(':', j->out);
}

static void json_key(const struct json *j, const char *key)
{
	bool first = j->n_items[j->depth] == 0;

	if (j->style == JSON_LINE) {
		fputs(first ? "" : ", ", j->out);
	} else {
		fputs(first ? "\n" : ",\n", j->out);
		indent(j);
	}
	if (key)
		fprintf(j->out, "\"%s\": ", key);
}

/* Writes everything that stands before a value. */
static void begin_item(struct json *j, const char *key)
{
	if (j->depth > 0) {
		assert(j->is_list[j->depth] == !key);
		if (j->style == JSON_OUTLINE)
			outline_key(j, key);
		else
			json_key(j, key);
	}
	j->n_items[j->depth]++;
}

static void begin_nested(struct json *j, const char *key, bool is_list)
{
	bool outline = j->style == JSON_OUTLINE;

	assert(j->depth < JSON_DEPTH_MAX - 1);
	begin_item(j, key);
	if (!outline)
		fputc(is_list ? '[' : '{', j->out);
	else if (j->depth > 0)
		fputc('\n', j->out);
	j->depth++;
	j->n_items[j->depth] = 0;
	j->is_list[j->depth] = is_list;
}

void json_object(struct json *j, const char *key)
{
	begin_nested(j, key, false);
}

void json_list(struct json *j, const char *key)
{
	begin_nested(j, key, true);
}

void json_end(struct json *j)
{
	bool is_list = j->is_list[j->depth];

	assert(j->depth > 0);
	j->depth--;
	if (j->style == JSON_OUTLINE)
		return;
	if (j->style == JSON_PRETTY) {
		fputc('\n', j->out);
		indent(j);
	}
	fputc(is_list ? ']' : '}', j->out);
	if (j->depth == 0)
		fputc('\n', j->out);
}

/* ------------------------------------------------------------------------- */
/* Values                                                                    */

static void begin_value(struct json *j, const char *key)
{
	begin_item(j, key);
	if (j->style == JSON_OUTLINE)
		fputc(' ', j->out);
}

static void end_value(struct json *j)
{
	if (j->style == JSON_OUTLINE)
		fputc('\n', j->out);
}

void json_string(struct json *j, const char *key, const char *value)
{
	begin_value(j, key);
	if (j->style == JSON_OUTLINE)
		fputs(ESC(value), j->out);
	else
		put_text(j->out, value);
	end_value(j);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	begin_value(j, key);
	fprintf(j->out, "%" PRIu64, value);
	end_value(j);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin_value(j, key);
	fputs(value ? "true" : "false", j->out);
	end_value(j);
}

void json_null(struct json *j, const char *key)
{
	begin_value(j, key);
	fputs("null", j->out);
	end_value(j);
}

void json_percent(struct json *j, const char *key, double value)
{
	begin_value(j, key);
	fprintf(j->out, "%.2f", value);
	end_value(j);
}
