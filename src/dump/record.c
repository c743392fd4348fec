#include "dump/record.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"

void record_begin(struct record *r, const char *kind, uint64_t host_off)
{
	r->kind = kind;
	r->host_off = host_off;
	r->n_fields = 0;
	r->n_defects = 0;
	r->used = 0;
}

static void record_add(struct record *r, const char *name, uint32_t type,
		       uint64_t value, const char *text)
{
	assert(r->n_fields < RECORD_FIELDS_MAX);
	r->fields[r->n_fields++] = (struct qcow2_dump_field){
		.name = name,
		.text = text,
		.value = value,
		.type = type,
	};
}

void record_number(struct record *r, const char *name, uint64_t value)
{
	record_add(r, name, QCOW2_DUMP_NUMBER, value, NULL);
}

void record_hex(struct record *r, const char *name, uint64_t value)
{
	record_add(r, name, QCOW2_DUMP_HEX, value, NULL);
}

void record_flag(struct record *r, const char *name, bool value)
{
	record_add(r, name, QCOW2_DUMP_FLAG, value, NULL);
}

void record_word(struct record *r, const char *name, const char *word)
{
	record_add(r, name, QCOW2_DUMP_TEXT, 0, word);
}

void record_text(struct record *r, const char *name, const void *text,
		 size_t len)
{
	size_t room = (size_t)min_u64(sizeof(r->room) - r->used,
				      4 * RECORD_TEXT_BYTES_MAX + 4);
	char *dst = r->room + r->used;

	if (!text)
		return;
	assert(room >= 4);
	r->used += text_escape(dst, room, text, len) + 1;
	record_add(r, name, QCOW2_DUMP_TEXT, 0, dst);
}

void record_bytes(struct record *r, const char *name, const uint8_t *bytes,
		  size_t len)
{
	size_t shown = (size_t)min_u64(len, RECORD_BYTES_MAX);
	char *dst = r->room + r->used;

	if (!len)
		return;
	assert(sizeof(r->room) - r->used >= 2 * shown + 4);
	for (size_t i = 0; i < shown; i++) {
		dst[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		dst[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	strcpy(dst + 2 * shown, shown < len ? "..." : "");
	r->used += strlen(dst) + 1;
	record_add(r, name, QCOW2_DUMP_TEXT, 0, dst);
}

void record_defect(struct record *r, enum defect defect)
{
	for (uint32_t i = 0; i < r->n_defects; i++)
		if (r->defects[i] == (int32_t)defect)
			return;
	if (!defect)
		return;
	assert(r->n_defects < RECORD_DEFECTS_MAX);
	r->defects[r->n_defects++] = (int32_t)defect;
}

int record_tell(struct record *r, struct teller *t, struct qcow2_error *err)
{
	struct qcow2_dump_record public = {
		.kind = r->kind,
		.host_off = r->host_off,
		.fields = r->fields,
		.defects = r->defects,
		.n_fields = r->n_fields,
		.n_defects = r->n_defects,
	};

	if (++t->n_told > DUMP_RECORDS_MAX)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "there is more than a dump tells at once: "
				    "%u records; begin further on",
				    DUMP_RECORDS_MAX);
	if (t->opts->report && t->opts->report(t->opts->opaque, &public))
		return error_set(err, -ECANCELED, "the dump was stopped");
	return 0;
}
