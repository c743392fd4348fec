/*
 * The options that `create -o` understands.
 */
#ifndef CLI_CREATE_H
#define CLI_CREATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli.h"

/* The keys are in the order in which `create` tells what it makes. */
enum create_key {
	KEY_CLUSTER_SIZE,
	KEY_EXTENDED_L2,
	KEY_PREALLOCATION,
	KEY_COMPRESSION_TYPE,
	KEY_SIZE,
	KEY_COMPAT,
	KEY_BACKING_FILE,
	KEY_BACKING_FMT,
	KEY_DATA_FILE,
	KEY_DATA_FILE_RAW,
	KEY_LAZY_REFCOUNTS,
	KEY_REFCOUNT_BITS,
	N_CREATE_KEYS,
};

struct create_value {
	const char *text; /* as given; NULL: not given */
	uint64_t number;  /* of sizes, numbers and booleans */
};

/* No image has room for a longer name. */
#define CREATE_NAME_ROOM 1100

struct create_plan {
	const char *path;
	enum qcow2_format format;
	struct create_value values[N_CREATE_KEYS];
	/* Room for names that are not recorded as given. */
	char backing_name[CREATE_NAME_ROOM];
	char data_name[CREATE_NAME_ROOM];
};

#define CREATE_LISTS_MAX 32

/* Every -o of a command line, as given. */
struct create_lists {
	const char *text[CREATE_LISTS_MAX];
	char *copies[CREATE_LISTS_MAX]; /* cut up by the parser */
	size_t n;
};

struct common;
struct option_value;
struct placing;

/* A setter for tables of options: the field is a struct create_lists. */
int create_add_list(const struct option_value *v);
bool create_lists_want_help(const struct create_lists *lists);
/* Reads all lists into @plan, which keeps pointers into @lists.  Returns 0, or
 * -1 after saying what is wrong. */
int create_take_lists(const struct cli *cli, struct create_lists *lists,
		      struct create_plan *plan);
void create_lists_release(struct create_lists *lists);

/* Returns true when the list @text asks for help and not for settings. */
bool create_wants_help(const char *text);
void create_print_help(enum qcow2_format format);
/* Prints the same help for options of a qcow2 image that `amend` can change. */
void create_print_amend_help(const bool shown[N_CREATE_KEYS]);
const char *create_key_name(enum create_key key);

/* Reads a list into @plan, which keeps pointers into @text.  Returns 0, or -1
 * after saying what is wrong. */
int create_parse(const struct cli *cli, struct create_plan *plan, char *text);

void create_set_size(struct create_plan *plan, uint64_t size);

/* Prints the line that tells what is about to be made, as qemu-img does. */
void create_print_plan(const struct create_plan *plan);

/* Fills in the library's options for a qcow2 image.  Returns 0, or -1 after
 * saying what is wrong. */
int create_fill_opts(const struct cli *cli, const struct create_plan *plan,
		     struct qcow2_create_opts *opts);

/* Changes the names of other files in @plan so that QEMU takes them for paths,
 * too.  With @may_be_missing, the backing file is not looked at, and a protocol
 * that QEMU knows is meant as one unless a file of that name is there. */
void create_record_paths(struct create_plan *plan, bool may_be_missing);

/* Checks that there is a backing file that fits, and that the image is not
 * below itself.  Without a given size, the image takes the backing file's.
 * With @unsafe, the backing file need not exist.  Returns 0, or -1 after saying
 * what is wrong. */
int create_check_backing(const struct cli *cli, const struct common *common,
			 struct create_plan *plan, bool unsafe);

/* Sets *mode to QCOW2_PREALLOC_* of a raw file.  Returns 0, or -1 after saying
 * what is wrong. */
int create_raw_preallocation(const struct cli *cli,
			     const struct create_plan *plan, uint32_t *mode);

/* Makes a raw file or overwrites a block device.  Returns 0, or -1 after
 * saying what is wrong. */
int create_raw(const struct cli *cli, const struct create_plan *plan,
	       struct placing *placing);

#endif
