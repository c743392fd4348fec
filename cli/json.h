/*
 * A writer of nested values, in three styles: JSON laid out as qemu-img lays
 * it out, JSON on one line, and an outline for people.
 *
 * Nothing is kept in memory; errors stay in the stream (ferror) and are
 * looked at once, at the end of the program.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum json_style {
	JSON_PRETTY,  /* one member per line, indented by four */
	JSON_LINE,    /* all on one line */
	JSON_OUTLINE, /* "key: value" indented by depth; list items "[n]" */
};

#define JSON_DEPTH_MAX 16

struct json {
	FILE *out;
	enum json_style style;
	unsigned depth;                   /* open objects and lists */
	unsigned n_items[JSON_DEPTH_MAX]; /* written so far, per depth */
	bool is_list[JSON_DEPTH_MAX];
};

void json_init(struct json *j, FILE *out, enum json_style style);

/* @key is a trusted, plain string, and NULL at the top and in lists. */
void json_object(struct json *j, const char *key);
void json_list(struct json *j, const char *key);
/* Closes the innermost object or list. */
void json_end(struct json *j);

/* Takes any bytes; those that are no UTF-8 become the replacement character. */
void json_string(struct json *j, const char *key, const char *value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* Writes two decimals. */
void json_percent(struct json *j, const char *key, double value);

#endif
