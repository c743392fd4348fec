/*
 * libqcow2: qcow2 disk images, complete, in one C library.
 *
 * Conventions, true for every function below unless it says otherwise:
 *
 *  - Functions that can fail return 0 or a negative errno value.  A last
 *    parameter of type `struct qcow2_error *` may be NULL.  On failure the
 *    function fills it with the code, the broken rule of the format (if that
 *    was the reason), the place in the image file and one line for people.  It
 *    holds plain data, so there is nothing to free.  On success it is left as
 *    it was.
 *  - Offsets, lengths and sizes are in bytes.  Guest offsets count from the
 *    start of the virtual disk, host offsets from the start of the image file.
 *  - Argument order is object, buffer, length, offset, flags, out, err.
 *  - Option structures start with their own size: the caller must initialise
 *    them with the matching _INIT macro.  Zero is the default of every field.
 *    Structures of older, smaller versions of this header are accepted; flag
 *    bits that this version does not know are refused with -EINVAL.
 *  - Any number of threads may use one image or store at the same time, and ask
 *    about it what they like.  Only these calls need the object to themselves,
 *    with no other call running on it: qcow2_close(), qcow2_resize() to a
 *    smaller size, qcow2_amend(), qcow2_compact(), qcow2_snapshot_apply(),
 *    qcow2_vmstate_write(), and qcow2_store_unref() of the last reference.  The
 *    comment of a function that lends a string says how long the string lives.
 *  - The library makes threads of its own inside qcow2_convert(),
 *    qcow2_convert_raw(), qcow2_convert_raw_store(), qcow2_convert_into() and
 *    qcow2_compare(), as many as their n_threads says.  If there is much
 *    metadata to check, it makes one more, which reads ahead, inside
 *    qcow2_check_path(), qcow2_check_store(), qcow2_compact(), and the opening
 *    for writing of an image that was not closed properly.  All threads end
 *    before the function returns, and all signals are blocked in them.  Only
 *    workers of queues stay, if the caller asks for any: see qcow2_pool_new().
 *  - Fork.  Images and stores belong to the process that made them.  In a child
 *    every function that takes one fails with -ECHILD, and functions that
 *    cannot fail return what was true at the fork.  A child may call
 *    qcow2_close() and qcow2_store_unref(), but need not: they close its copies
 *    of the descriptors and do nothing else, so that nothing is written,
 *    unlocked or removed behind the parent's back (the memory of an image
 *    stays: other threads may have been changing it at the fork).  A callback
 *    that forks must return in the parent only.  So a program that goes into
 *    the background must do so before it opens images. (Before Linux 4.14, or
 *    if there was no memory for a page per store, the library does not
 *    recognise a child that has its parent's process id, in another PID
 *    namespace.)
 *  - For a NULL handle, buffer, name or out a function returns -EINVAL, or 0 or
 *    NULL if it does not return errors.
 *  - The library opens no file that an image names unless the caller's gate
 *    agrees (see struct qcow2_gate); the default gate refuses.
 *  - The library has no global state, never exits and never prints.  It changes
 *    no signal's disposition: a program that runs under a limit of file sizes
 *    (RLIMIT_FSIZE) must ignore SIGXFSZ, as for write(2), to get -EFBIG.
 *
 * Format references are to the qcow2 specification (docs/interop/qcow2 in the
 * QEMU documentation) by its section names.
 */
#ifndef QCOW2_H
#define QCOW2_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every function below is declared with this: it is exported, however the code
 * around it is compiled.  A shared object that embeds the static library and
 * must not offer these functions itself defines QCOW2_API before it includes
 * this file, as __attribute__((visibility("hidden"))).
 */
#ifndef QCOW2_API
#ifdef __GNUC__
#define QCOW2_API __attribute__((visibility("default")))
#else
#define QCOW2_API
#endif
#endif

#define QCOW2_VERSION_MAJOR 0
#define QCOW2_VERSION_MINOR 1
#define QCOW2_VERSION_PATCH 0
#define QCOW2_VERSION_STRING "0.1.0"

/* The version of this header as one number that grows, and a test for #if: is
 * it this version or a later one? */
#define QCOW2_VERSION_NUMBER                                        \
	(QCOW2_VERSION_MAJOR * 1000000 + QCOW2_VERSION_MINOR * 1000 + \
	 QCOW2_VERSION_PATCH)
#define QCOW2_VERSION_AT_LEAST(major, minor, patch) \
	(QCOW2_VERSION_NUMBER >=                     \
	 (major) * 1000000 + (minor) * 1000 + (patch))

/* The version of the library that is running, as "major.minor.patch" and as
 * QCOW2_VERSION_NUMBER.  The string is static.  Neither call can fail; any
 * thread may make them. */
QCOW2_API
const char *qcow2_version(void);
QCOW2_API
uint32_t qcow2_version_number(void);

/* Abilities that depend on how the library was built, or came with a later
 * version. */
enum qcow2_capability {
	QCOW2_CAP_FAST_LEVELS = 1, /* QCOW2_LEVEL_FAST() */
	QCOW2_CAP_ENCRYPTION = 2,  /* encrypted images open with a passphrase */
	QCOW2_CAP_BITMAP_TRACKING = 3, /* writing keeps persistent bitmaps */
	QCOW2_CAP_RING = 4, /* queues use io_uring where the host has it */
};

/* Returns 1 when the library that is running has this capability, else 0.  The
 * caller may ask for any number: the answer to an unknown one is 0. */
QCOW2_API
int qcow2_supports(uint32_t capability);

/*
 * Takes the progress of a long job.  The job calls it now and then, from one
 * thread at a time, which may be one that the job made, with 0 <= done <=
 * total.  It returns non-zero to stop the job with -ECANCELED.
 */
typedef int qcow2_progress_fn(void *opaque, uint64_t done, uint64_t total);

/* ------------------------------------------------------------------------- */
/* Errors                                                                    */

/*
 * Describes a failure.  `code` is the negative errno that the function
 * returned.  `defect` names the rule of the format that the image broke
 * (QCOW2_DEFECT_* numbers, see qcow2_defect_name()); it is 0 if no such rule is
 * involved.  `host_off` is the place of the bad bytes in the image file, or
 * UINT64_MAX if that is unknown or has no meaning.  `layer` says in which image
 * of the chain they are, 0 being the top; it is known if opening, reading or
 * mapping an image failed, else it is QCOW2_LAYER_UNKNOWN.  `reason` gives the
 * kind of failure if a program may want to act on it and other failures share
 * the errno value.  `message` is UTF-8 without control characters,
 * NUL-terminated; text from images and paths in it is escaped.
 */
struct qcow2_error {
	int32_t code;
	int32_t defect;
	uint64_t host_off;
	uint32_t layer;
	uint32_t flags;     /* QCOW2_ERROR_* */
	uint32_t reason;    /* QCOW2_REASON_* */
	uint32_t reserved[3];
	char message[216];
};

#define QCOW2_LAYER_UNKNOWN UINT32_MAX

/* The same call may succeed later, when the cause of the failure is gone: there
 * is room again, or a lock or memory is free. */
#define QCOW2_ERROR_RETRY 0x1u

enum qcow2_reason {
	QCOW2_REASON_NONE = 0,      /* no more than code and defect say */
	QCOW2_REASON_LOCKED = 1,    /* somebody else has the image open */
	QCOW2_REASON_REFERENCE = 2, /* the gate refuses a file it names */
	QCOW2_REASON_BACKING_FORMAT = 3, /* neither the image nor the options
					  * say it */
	QCOW2_REASON_REPAIR = 4,    /* the image has to be repaired first */
	QCOW2_REASON_BUDGET = 5,    /* struct qcow2_budget forbids it */
	QCOW2_REASON_LOST = 6,      /* the host may have lost what was written
				     * since the last flush that returned 0 */
};

/* How much harm a defect does. */
enum qcow2_severity {
	QCOW2_SEVERITY_NONE = 0,
	QCOW2_SEVERITY_LEAK = 1,       /* space is lost, data is safe */
	QCOW2_SEVERITY_CORRUPTION = 2, /* data is or may become wrong */
	QCOW2_SEVERITY_FATAL = 3,      /* the image cannot be opened */
};

/*
 * These return the stable name of a defect, such as "l2-entry-unaligned", its
 * one-line explanation, and its severity.  The caller may pass any number:
 * unknown ones give NULL, NULL and QCOW2_SEVERITY_NONE.  Known numbers run from
 * 1 without gaps.  The strings are static.
 */
QCOW2_API
const char *qcow2_defect_name(int defect);
QCOW2_API
const char *qcow2_defect_text(int defect);
QCOW2_API
enum qcow2_severity qcow2_defect_severity(int defect);

/* Returns how many defects there are: the known numbers are 1 to this one. */
QCOW2_API
uint32_t qcow2_defect_count(void);

/*
 * Makes untrusted text safe to print: copies `len` bytes of `src` into `dst`
 * (`dst_size` bytes; 0: nothing is written) with control characters, invalid
 * UTF-8, bidirectional overrides and backslashes written as \xHH.  The result
 * is always terminated; a result that does not fit is cut and ends in "...".
 * Returns the length of the result.
 */
QCOW2_API
size_t qcow2_escape(char *dst, size_t dst_size, const void *src, size_t len);

/* ------------------------------------------------------------------------- */
/* Events                                                                    */

/* Happenings that concern an image as a whole, and not only the call in which
 * they came up. */
enum qcow2_event_kind {
	/* Something to know; `message` says it: the host has no locks for the
	 * file of a layer, or refcounts could not be proved. */
	QCOW2_EVENT_LOG = 1,
	/* The image was not closed properly, and opening it has repaired its
	 * refcounts; or the first change has raised some that were too low.
	 * `value` is how many. */
	QCOW2_EVENT_REPAIRED = 2,
	/* Damage was found, and the image has been marked corrupt (version 3).
	 * DEAD follows. */
	QCOW2_EVENT_CORRUPT = 3,
	/* The image takes no more changes until it is opened again, or
	 * qcow2_recover() succeeds: damage was found, or the host's flush
	 * failed. */
	QCOW2_EVENT_DEAD = 4,
	/* The disk has another size: `value`, in bytes. */
	QCOW2_EVENT_RESIZED = 5,
	/* The end of allocation, `value`, has passed the threshold of
	 * qcow2_set_write_threshold(), which is gone now. */
	QCOW2_EVENT_WRITE_THRESHOLD = 6,
	/* A call failed for want of room on the host (-ENOSPC, -EDQUOT).  The
	 * caller may make some, flush, and repeat the call.  Told again only
	 * after a flush has succeeded. */
	QCOW2_EVENT_NO_ROOM = 7,
};

struct qcow2_event {
	size_t struct_size;  /* as the library knows it */
	uint32_t kind;       /* QCOW2_EVENT_*; later versions may have more */
	uint32_t layer;      /* of the chain that it is about; 0: the top */
	uint64_t value;      /* by kind, else 0 */
	const char *message; /* for people, as in struct qcow2_error */
	const struct qcow2_error *error; /* of the call that failed, in which
					  * this came up; NULL if none did */
	uint64_t reserved[4]; /* 0 */
};

/* Hears of an event, which lives only during the call; see
 * qcow2_set_event_fn(). */
typedef void qcow2_event_fn(void *opaque, const struct qcow2_event *event);

/* ------------------------------------------------------------------------- */
/* Stores: where host bytes live                                             */

/*
 * A store is a growable array of host bytes: a file, a block device, memory, or
 * anything that the caller implements with struct qcow2_store_ops.  Stores are
 * reference counted; images keep a reference to the stores they use.
 *
 * A store knows its users.  Any number of images, checks and jobs may read one,
 * or a single one may write to it; a further user gets -EBUSY, as another
 * program does by the lock.  The store holds the lock as long as somebody uses
 * it, not as long as it is open.  Users with QCOW2_OPEN_NO_LOCK and
 * QCOW2_CHECK_NO_LOCK neither ask nor count.
 */
struct qcow2_store;

/* Flags of store reads, writes and zeroing. */
#define QCOW2_STORE_NOWAIT 0x1u /* -EAGAIN rather than block */
#define QCOW2_STORE_UNMAP 0x2u /* zero: give the space back if possible */
#define QCOW2_STORE_NO_FALLBACK 0x4u /* zero: -ENOTSUP rather than write zeros */

/* The locks that qcow2_store_ops.lock may be asked to hold; see
 * qcow2_open_opts. */
enum qcow2_store_lock {
	QCOW2_STORE_UNLOCK = 0,
	QCOW2_STORE_LOCK_READ = 1,  /* others may read, nobody may write */
	QCOW2_STORE_LOCK_WRITE = 2, /* we write, nobody else opens */
};

/*
 * The operations of a store, for qcow2_store_new().  Several threads may call
 * each at once, also threads that the library made.  `self` is the pointer
 * given to qcow2_store_new().  None may call the image or store that it serves.
 *
 * Operations with an `err`, which is never NULL, return 0 or a negative errno,
 * and may say why they failed in err->message (as in struct qcow2_error:
 * printable); an empty message stands for the text of the errno value.  If an
 * operation returns anything else, such as the number of bytes, the call that
 * needed it fails with -EIO.  A NULL member means -ENOTSUP, unless its comment
 * says otherwise.
 *
 * Reading needs preadv and size.  Writing needs pwritev, flush and truncate as
 * well: without pwritev a store is read-only, and opening it for writing fails
 * with -EROFS; without one of the others it fails with -ENOTSUP.
 */
struct qcow2_store_ops {
	size_t struct_size;

	/* The name for messages and qcow2_layer_filename().  The library copies
	 * it.  NULL: "custom store". */
	const char *name;

	/* Fills the whole vector from `off`; bytes past the end of the store
	 * read as zeros.  Flags: QCOW2_STORE_NOWAIT.  Required. */
	int (*preadv)(void *self, const struct iovec *iov, int iovcnt,
		      uint64_t off, unsigned flags, struct qcow2_error *err);
	/* Writes the whole vector at `off`, growing the store as needed.
	 * Flags: QCOW2_STORE_NOWAIT. */
	int (*pwritev)(void *self, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err);
	/* Makes durable everything that completed before the call. */
	int (*flush)(void *self, struct qcow2_error *err);
	/* Makes [off, off+len) read as zeros; never changes the size.  Without
	 * QCOW2_STORE_UNMAP the host space stays or becomes reserved, if the
	 * store can do that.  On -ENOTSUP the library writes zeros instead,
	 * unless flags has QCOW2_STORE_NO_FALLBACK. */
	int (*zero)(void *self, uint64_t len, uint64_t off, unsigned flags,
		    struct qcow2_error *err);
	/* Sets the size; new bytes read as zeros.  A store whose size is fixed
	 * returns -ENOTSUP: an image cannot outgrow it then. */
	int (*truncate)(void *self, uint64_t size, struct qcow2_error *err);
	/* Sets *size to the current size in bytes, at most 2^63-1.
	 * Required. */
	int (*size)(void *self, uint64_t *size, struct qcow2_error *err);
	/* Sets *bytes to the host space really in use.  NULL: the size. */
	int (*allocated)(void *self, uint64_t *bytes, struct qcow2_error *err);
	/* Describes [off, off+*len): sets *is_data and shortens *len to the
	 * place where the answer changes, never to 0.  A hole reads as zeros.
	 * NULL: all data. */
	int (*extent)(void *self, uint64_t *len, uint64_t off, int *is_data,
		      struct qcow2_error *err);
	/* Excludes other programs; the users of this store exclude each other
	 * without it.  The library calls it when the first user comes and when
	 * the last has gone.  It returns -EBUSY when another program is in the
	 * way, and -ENOTSUP if there are no locks: the store is then used
	 * without (see `unlocked` in struct qcow2_info).  On any other failure
	 * the call that wanted to use the store fails.  NULL: succeeds and does
	 * nothing. */
	int (*lock)(void *self, enum qcow2_store_lock lock,
		    struct qcow2_error *err);
	/* Returns a file descriptor whose bytes are the store's, for copies
	 * within the kernel, or -1 when there is none.  NULL: -1. */
	int (*fd)(void *self);
	/* Sets two numbers that only this store has, however often it is
	 * opened: for files, device and inode.  The library finds by them a
	 * chain that contains itself, and copies onto themselves.  Returns 0,
	 * or a negative errno when there are none.  NULL: the store is like no
	 * other. */
	int (*identity)(void *self, uint64_t *device, uint64_t *number);
	/* Ends the store.  Called once, when the last reference goes, but not
	 * in a forked child.  NULL: does nothing. */
	void (*close)(void *self);
	/* Returns the power of two of which addresses of memory, lengths of
	 * segments and offsets should be multiples: other transfers are copied,
	 * or cost a read.  The library works with any; it only tells its
	 * callers (qcow2_get_limits()).  NULL: 1. */
	uint32_t (*align)(void *self);
};

#define QCOW2_STORE_OPS_INIT { sizeof(struct qcow2_store_ops), NULL, NULL, \
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* Makes a store of the caller's operations; it copies `ops` and hands `self` to
 * each of them. *out has one reference.  Returns -EINVAL for a missing required
 * member, or -ENOMEM. */
QCOW2_API
int qcow2_store_new(const struct qcow2_store_ops *ops, void *self,
		    struct qcow2_store **out, struct qcow2_error *err);

#define QCOW2_STORE_RDWR 0x1u /* open for writing too */
#define QCOW2_STORE_CREATE 0x2u /* create; an existing regular file is emptied */
#define QCOW2_STORE_DIRECT 0x4u /* O_DIRECT; any alignment is still accepted */
/* A flush does nothing: writes reach the disk when the host likes, in any
 * order. */
#define QCOW2_STORE_NO_FLUSH 0x8u

/* Opens a regular file or block device.  Returns -EINVAL for directories,
 * pipes, sockets and character devices, without blocking on them. */
QCOW2_API
int qcow2_store_open_file(const char *path, unsigned flags,
			  struct qcow2_store **out, struct qcow2_error *err);

/* Does the same for an open descriptor, which the store owns after success and
 * closes at the end; `name` is for messages. */
QCOW2_API
int qcow2_store_open_fd(int fd, const char *name, unsigned flags,
			struct qcow2_store **out, struct qcow2_error *err);

/* Makes an empty store in memory; holes cost nothing. */
QCOW2_API
int qcow2_store_new_memory(struct qcow2_store **out, struct qcow2_error *err);

/* Does the same, with a name for messages and qcow2_layer_filename() instead of
 * "memory": for a program that has several.  The library copies it.  Any thread
 * may make either call, which only takes memory (-ENOMEM). */
QCOW2_API
int qcow2_store_new_memory_named(const char *name, struct qcow2_store **out,
				 struct qcow2_error *err);

QCOW2_API
struct qcow2_store *qcow2_store_ref(struct qcow2_store *store);
QCOW2_API
void qcow2_store_unref(struct qcow2_store *store); /* NULL is fine */

/* Plain access to a store: these wrap the operations above.  They neither take
 * a lock nor ask for one. */
QCOW2_API
int qcow2_store_pread(struct qcow2_store *store, void *buf, size_t len,
		      uint64_t off, unsigned flags, struct qcow2_error *err);
QCOW2_API
int qcow2_store_pwrite(struct qcow2_store *store, const void *buf, size_t len,
		       uint64_t off, unsigned flags, struct qcow2_error *err);
QCOW2_API
int qcow2_store_size(struct qcow2_store *store, uint64_t *size,
		     struct qcow2_error *err);
QCOW2_API
int qcow2_store_truncate(struct qcow2_store *store, uint64_t size,
			 struct qcow2_error *err);
/* Does nothing for a read-only store, or when nothing was written to a file
 * since the last flush. */
QCOW2_API
int qcow2_store_flush(struct qcow2_store *store, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* External references and budgets                                           */

enum qcow2_format {
	QCOW2_FORMAT_DEFAULT = 0, /* qcow2, or as a field's comment says */
	QCOW2_FORMAT_QCOW2 = 1,
	QCOW2_FORMAT_RAW = 2,
	/* The library looks at the first bytes.  Only for reading: guests can
	 * write a qcow2 header into a raw disk.  It refuses this with
	 * QCOW2_OPEN_RDWR. */
	QCOW2_FORMAT_PROBE = 3,
};

enum qcow2_external {
	QCOW2_EXTERNAL_NONE = 0, /* open nothing that an image names */
	/* Open plain relative names in the directory of the image that names
	 * them, or below it; regular files only; no symlink leads out. */
	QCOW2_EXTERNAL_DIR = 1,
	/* As DIR, and also open names that lie below one of allow_dirs. */
	QCOW2_EXTERNAL_ALLOW = 2,
	/* Open any path, block devices too.  Names stay literal paths, never
	 * URLs. */
	QCOW2_EXTERNAL_ANY = 3,
};

enum qcow2_reference_kind {
	QCOW2_REFERENCE_BACKING = 1,
	QCOW2_REFERENCE_DATA_FILE = 2,
};

/*
 * A file that an image names, as the gate sees it.  The library fills it in;
 * struct_size says how much there is.  Strings are NUL-free, not escaped, and
 * live only during the call.
 */
struct qcow2_reference {
	size_t struct_size;
	uint32_t kind;       /* QCOW2_REFERENCE_BACKING or _DATA_FILE */
	/* How the library will use the file: QCOW2_STORE_RDWR, _DIRECT,
	 * _NO_FLUSH, as for qcow2_store_open_file().  If it will write to the
	 * file and gets it read-only, opening the image fails with -EROFS. */
	uint32_t flags;
	const char *name;    /* as stored in the image */
	const char *format;  /* as stored, NULL if none; data files: "raw" */
	const char *image;   /* name of the image that refers to it */
	uint32_t depth;      /* of that image in its chain; the top is 0 */
	uint32_t reserved;   /* 0 */
	void *origin;        /* the library's, for qcow2_gate_default() */
};

/*
 * Decides which files are opened because an image names them.  If `open` is
 * set, the library ignores the mode and the callback decides: it returns 0 and
 * a store (whose reference passes to the library) to allow, or a negative errno
 * to refuse, and may say why in `err`, which is never NULL.  Any other value
 * means -EIO.  The thread that opens the image calls it, and it may open other
 * images.
 */
struct qcow2_gate {
	size_t struct_size;
	uint32_t mode;       /* QCOW2_EXTERNAL_* */
	uint32_t reserved;   /* must be 0 */
	const char *const *allow_dirs; /* NULL-terminated; for ALLOW */
	int (*open)(void *opaque, const struct qcow2_reference *ref,
		    struct qcow2_store **out, struct qcow2_error *err);
	void *opaque;
};

#define QCOW2_GATE_INIT { sizeof(struct qcow2_gate), QCOW2_EXTERNAL_NONE, 0, \
			  NULL, NULL, NULL }

/*
 * Opens what `ref` names by the library's own rule, from the directory of the
 * image that names it: for an `open` callback that logs, or decides, and leaves
 * the rest to a mode.  `gate` gives the mode and allow_dirs; its own `open` is
 * not called, and NULL refuses.  `ref` is what the callback got, or a copy in
 * which it changed name or flags.
 *
 * The callback owns *out, and may return it: relative names in that file then
 * count from its directory, as without a callback.  It may call this any number
 * of times, on any thread, one after the other, before it returns.  The call
 * opens files and waits for the host.
 *
 * Returns 0 and a store; -EPERM when the mode does not allow it, -EINVAL for a
 * reference that is none of the library's or a gate that is not valid, or the
 * error of the host.  The callback may return that error and its message.
 */
QCOW2_API
int qcow2_gate_default(const struct qcow2_gate *gate,
		       const struct qcow2_reference *ref,
		       struct qcow2_store **out, struct qcow2_error *err);

/* Limits on the cost of an image; 0 takes the default. */
struct qcow2_budget {
	/* Memory for the metadata of one image: header cluster, L1 table,
	 * snapshots, bitmap directory and, for writing, the refcount table as
	 * large as they are; caches get the rest at most.  Default 256 MiB. */
	uint64_t metadata_bytes;
	/* The same for all images of a chain together: each of chain_depth
	 * images gets an equal share, which bounds a check of one of them as
	 * well.  Default: no limit. */
	uint64_t total_bytes;
	uint64_t virtual_bytes;    /* largest virtual size accepted; no limit */
	uint32_t chain_depth;      /* images in a chain, top included; 64 */
	uint32_t reserved;         /* must be 0 */
	uint64_t more[4];          /* must be 0 */
};

#define QCOW2_BUDGET_INIT { 0, 0, 0, 0, 0, { 0, 0, 0, 0 } }

/* ------------------------------------------------------------------------- */
/* Images                                                                    */

/* One virtual disk: a qcow2 or raw image with its backing chain. */
struct qcow2_image;

/* Opens for writing too; not a snapshot's view, nor with METADATA_ONLY. */
#define QCOW2_OPEN_RDWR 0x1u
#define QCOW2_OPEN_NO_BACKING 0x2u /* unallocated areas read as zeros */
#define QCOW2_OPEN_NO_LOCK 0x4u /* also when others write; contents may tear */
#define QCOW2_OPEN_DIRECT 0x8u /* O_DIRECT on all files */
/* Information, map and check only: the data file and the backing chain are not
 * opened, encrypted images need no passphrase, and reading data fails with
 * -EPERM.  The first bytes of an image, 104 or more, are enough: see
 * qcow2_info.lacks.  Calls that need the rest fail with -EIO. */
#define QCOW2_OPEN_METADATA_ONLY 0x10u
/* Needs METADATA_ONLY: the backing chain is opened all the same, its layers for
 * their metadata only too, and qcow2_map() goes down it. */
#define QCOW2_OPEN_METADATA_CHAIN 0x20u
/* A flush writes metadata out, but asks no file that the library opened to make
 * anything durable.  This is fast, but when the host crashes the image may be
 * lost. */
#define QCOW2_OPEN_NO_FLUSH 0x40u
/* With RDWR: the caller promises that no refcount of the image is too low, and
 * that no entry points past the end of the file; if that is false, data is
 * lost.  Without the flag all metadata is read once, before the first change:
 * see qcow2_open_path(). */
#define QCOW2_OPEN_TRUST_REFCOUNTS 0x80u
/* Opening fails with -ENOTSUP if the host has no locks for a file; without this
 * flag the image is opened all the same, and qcow2_info.unlocked says so. */
#define QCOW2_OPEN_NEED_LOCK 0x100u
/* With RDWR: opening refuses an image that was not closed properly (-EROFS)
 * instead of repairing its refcounts, which takes time. */
#define QCOW2_OPEN_NO_REPAIR 0x200u

struct qcow2_open_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_OPEN_* */
	uint32_t format;            /* QCOW2_FORMAT_*; DEFAULT is QCOW2 */
	/* Format of the backing file if the image does not say it (images of
	 * today always do); DEFAULT refuses to guess.  PROBE looks at the first
	 * bytes. */
	uint32_t backing_format;
	uint32_t reserved;          /* must be 0 */
	const char *snapshot;       /* view of this internal snapshot (id, else
				     * name), NULL for the active disk */
	const struct qcow2_gate *gate; /* NULL: nothing external */
	struct qcow2_budget budget;
	uint64_t l2_cache_bytes;    /* default 32 MiB, or what the disk needs */
	uint64_t l2_slice_bytes;    /* power of two, 512 to the cluster size of
				     * the top image; images below take what
				     * fits theirs; default 4096 or the
				     * cluster size */
	uint64_t refcount_cache_bytes; /* default 4 MiB */
	const void *passphrase;     /* for encrypted images; this version
				     * refuses those (-ENOTSUP) */
	size_t passphrase_len;
	uint32_t discard;           /* QCOW2_DISCARD_*: these freed clusters
				     * give their space back to the host */
	uint32_t lazy_refcounts;    /* QCOW2_LAZY_* */
	uint32_t overlap_check;     /* QCOW2_OVERLAP_*: a write of guest data
				     * must not hit these; 0 is CACHED */
	uint32_t cache_clean_sec;   /* tables not used for so long leave the
				     * caches at the next use of a cache. 0:
				     * only when others need the room */
	/* Called while an image that was not closed properly is repaired: see
	 * qcow2_open_path(). */
	qcow2_progress_fn *progress;
	void *opaque;
	/* As for qcow2_set_event_fn(), from the start: the function hears of
	 * what happens at opening too.  event_opaque becomes the image's when
	 * opening succeeds; else it stays the caller's. */
	qcow2_event_fn *event_fn;
	void *event_opaque;
	void (*event_free)(void *opaque);
};

/* Lazy refcounts: a flush writes no refcounts; the dirty bit says so, and after
 * a crash the next opening for writing counts them anew.  Version 3 only. */
#define QCOW2_LAZY_DEFAULT 0u /* as the image says */
#define QCOW2_LAZY_ON 1u
#define QCOW2_LAZY_OFF 2u

/* Metadata that the overlap guard knows.  A write that would hit it fails with
 * -EIO and marks the image corrupt. */
#define QCOW2_OVERLAP_MAIN_HEADER 0x1u
#define QCOW2_OVERLAP_ACTIVE_L1 0x2u
#define QCOW2_OVERLAP_ACTIVE_L2 0x4u
#define QCOW2_OVERLAP_REFCOUNT_TABLE 0x8u
#define QCOW2_OVERLAP_REFCOUNT_BLOCK 0x10u
#define QCOW2_OVERLAP_SNAPSHOT_TABLE 0x20u
#define QCOW2_OVERLAP_INACTIVE_L1 0x40u
#define QCOW2_OVERLAP_INACTIVE_L2 0x80u /* read when the image is opened */
#define QCOW2_OVERLAP_BITMAP_DIRECTORY 0x100u
#define QCOW2_OVERLAP_NONE 0x80000000u  /* alone: no checks */
#define QCOW2_OVERLAP_CONSTANT 0x12bu   /* all that never moves */
#define QCOW2_OVERLAP_CACHED 0x17fu     /* all that is in memory anyhow */
#define QCOW2_OVERLAP_ALL 0x1ffu

/* Freed clusters are always used again; these flags punch holes as well. */
#define QCOW2_DISCARD_REQUEST 0x1u  /* guest discards, unmapping zeroes */
#define QCOW2_DISCARD_SNAPSHOT 0x2u /* deleting snapshots */
#define QCOW2_DISCARD_OTHER 0x4u    /* clusters that a write replaces */
/* Discarded clusters stay allocated (and punched, with REQUEST), so that the
 * image does not fragment. */
#define QCOW2_DISCARD_NO_UNREF 0x8u

#define QCOW2_OPEN_OPTS_INIT { sizeof(struct qcow2_open_opts), 0, \
	QCOW2_FORMAT_DEFAULT, QCOW2_FORMAT_DEFAULT, 0, NULL, NULL,   \
	QCOW2_BUDGET_INIT, 0, 0, 0, NULL, 0, 0, 0, 0, 0, NULL, NULL, \
	NULL, NULL, NULL }

/*
 * Opens the image at `path` with its backing chain and data file as far as
 * the gate and the flags allow.  `opts` may be NULL for the defaults.
 *
 * Returns 0 and the image in *out; -EINVAL for an image that breaks the format
 * (err->defect says which rule), -ENOTSUP for one that uses a feature this
 * version does not have, -EPERM when the gate refuses a reference, -EBUSY when
 * another program holds a conflicting lock (-ENOLCK and the like when locks
 * ought to work and do not) or another user of the same store is in the way,
 * -EROFS for writing to a store that is open for reading only, -ELOOP for a
 * chain that contains itself, -E2BIG when a budget is exceeded, -ENOENT for an
 * unknown snapshot, -ENOMEM, or the error of the host.
 *
 * An image whose dirty or corrupt bit is set opens for reading.  To open a
 * dirty one for writing the library repairs its refcounts first, as by
 * qcow2_check_path(), which QCOW2_OPEN_NO_LOCK and QCOW2_OPEN_NO_REPAIR forbid.
 * opts->progress is told how far it is, and may stop it (-ECANCELED): the image
 * is as it was, or better, and the next opening goes on.  It refuses a corrupt
 * one, or one with other faults than refcounts, with -EROFS.
 *
 * Refcounts of an image may be too low: host crashes leave that behind, and
 * some programs write it.  Data would be lost if space were reused on their
 * word.  So the first call that changes the image reads all metadata first,
 * once per opening.  This takes about as long as qcow2_check_path(), on the
 * calling thread, while other writers wait.  It needs the memory of a check,
 * within budget.metadata_bytes; if that is not given, within 256 MiB, and 5
 * bytes for each cluster of the file but no more than the file's allocated
 * size; always within the image's share of budget.total_bytes.  With
 * QCOW2_NOWAIT that call returns -EAGAIN instead.  It raises refcounts that are
 * too low (refcounts_raised in struct qcow2_info counts them). If the image has
 * damage that raising does not cure, it marks the image corrupt and fails with
 * -EIO; err->defect says which rule is broken.  If the metadata cannot be read
 * or exceeds the budget, writing goes on: the library copies what the file held
 * instead of overwriting it, and the file grows instead of reusing space.  But
 * taking, applying and deleting snapshots, shrinking, compacting and amending
 * version or refcount_bits fail then.  QCOW2_OPEN_TRUST_REFCOUNTS leaves all of
 * that out.  It is for images that only this library has written, or that have
 * been checked.
 */
QCOW2_API
int qcow2_open_path(const char *path, const struct qcow2_open_opts *opts,
		    struct qcow2_image **out, struct qcow2_error *err);

/* Does the same over a store, of which it takes its own reference.  Relative
 * names in the image then have no directory: mode DIR refuses them. */
QCOW2_API
int qcow2_open_store(struct qcow2_store *store,
		     const struct qcow2_open_opts *opts,
		     struct qcow2_image **out, struct qcow2_error *err);

/*
 * Closes the image and all it opened, after a flush of its own.  No other call
 * may be running on it.  The image is gone whatever the call returns: if that
 * flush fails (-ENOSPC, -EDQUOT, -EIO), changes that no earlier flush returned
 * 0 for are lost, and some space leaks, but nothing else.  A caller that wants
 * to make room and try again must call qcow2_flush() first.  `img` may be NULL.
 * In a forked child the call returns 0 and writes nothing.
 */
QCOW2_API
int qcow2_close(struct qcow2_image *img, struct qcow2_error *err);

/* Returns the virtual size in bytes (of the snapshot's disk in a snapshot
 * view).  Any thread may ask, and waits for nobody; while qcow2_resize() makes
 * the disk larger the answer is the old size until the new one is durable. */
QCOW2_API
uint64_t qcow2_size(const struct qcow2_image *img);

#define QCOW2_NOWAIT 0x1u /* -EAGAIN rather than wait for a disk or a peer */

/*
 * Reads guest bytes. [off, off+len) must lie inside the virtual disk (-EINVAL).
 * It reads all or nothing: on failure the buffer's contents are undefined.
 * Returns -EIO when the image is damaged at that place (err->defect), -EAGAIN
 * under QCOW2_NOWAIT when metadata or data is not in memory.
 */
QCOW2_API
int qcow2_pread(struct qcow2_image *img, void *buf, size_t len, uint64_t off,
		unsigned flags, struct qcow2_error *err);
QCOW2_API
int qcow2_preadv(struct qcow2_image *img, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Writing                                                                   */

#define QCOW2_FUA 0x2u /* durable when the call returns, as if flushed */
#define QCOW2_ZERO_MAY_UNMAP 0x4u /* the host may take the space back */
#define QCOW2_ZERO_NO_FALLBACK 0x8u /* -ENOTSUP rather than write zeros */

/*
 * Writes guest bytes.  [off, off+len) must lie inside the virtual disk
 * (-EINVAL); the image must be open for writing (-EBADF).  Overlapping writes
 * of several threads take effect one after the other, separately in each 2 MiB
 * of the disk (from a multiple of 2 MiB on).  They are durable after the next
 * qcow2_flush() that succeeds; after a crash before that, every sector has its
 * old or its new contents.
 *
 * Returns -ENOSPC, -EDQUOT or -EFBIG when there is no room: the caller may make
 * some and repeat the call.  Returns -EIO when the image is damaged at that
 * place (it is marked corrupt then, and takes no more writes) or the host
 * failed, and -EAGAIN under QCOW2_NOWAIT when an overlapping write is under
 * way, new clusters are needed, or metadata is not in memory.  On failure
 * sectors of the range may have old or new contents, and nothing outside it has
 * changed.
 */
QCOW2_API
int qcow2_pwrite(struct qcow2_image *img, const void *buf, size_t len,
		 uint64_t off, unsigned flags, struct qcow2_error *err);
QCOW2_API
int qcow2_pwritev(struct qcow2_image *img, const struct iovec *iov, int iovcnt,
		  uint64_t off, unsigned flags, struct qcow2_error *err);

/*
 * Makes guest bytes read as zeros: by metadata for whole clusters (or
 * subclusters), and with written zeros elsewhere.  Flags: QCOW2_ZERO_*,
 * QCOW2_FUA, QCOW2_NOWAIT; the rest is as for qcow2_pwrite().
 */
QCOW2_API
int qcow2_zero(struct qcow2_image *img, uint64_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err);

/*
 * Says that the contents of guest bytes do not matter any more.  Whole clusters
 * read as zeros afterwards (in version 2 images those that a backing file
 * reaches stay as they are); parts of clusters stay as they are.  Flags:
 * QCOW2_FUA, QCOW2_NOWAIT; others are -EINVAL.  The rest is as for
 * qcow2_pwrite().
 */
QCOW2_API
int qcow2_discard(struct qcow2_image *img, uint64_t len, uint64_t off,
		  unsigned flags, struct qcow2_error *err);

/*
 * Writes clusters compressed with the image's codec.  `off` must be a multiple
 * of the cluster size, and so must `len` unless the range ends with the disk.
 * A cluster that does not become smaller is stored plain.
 * qcow2_set_compress_level() says how hard it tries.  Overlapping writes take
 * effect cluster by cluster.  Flags: QCOW2_FUA; the rest is as for
 * qcow2_pwrite().  Returns -ENOTSUP with an external data file.
 */
QCOW2_API
int qcow2_write_compressed(struct qcow2_image *img, const void *buf, size_t len,
			   uint64_t off, unsigned flags,
			   struct qcow2_error *err);

/*
 * Sets the level at which qcow2_write_compressed() compresses from now on: for
 * zlib 1 to 9 or QCOW2_LEVEL_FAST(), for zstd 1 to 19; 0 is the usual one, zlib
 * 6 and zstd 3, with which every image opens.  The file does not record it, and
 * jobs such as qcow2_convert_into() and qcow2_compact(), which have a level of
 * their own, leave it as it is.  Any thread may call it while others write: a
 * cluster that is being compressed gets the old or the new level.  It does no
 * I/O.
 *
 * Returns -EINVAL for a level that the image's codec does not have, -ENOTSUP
 * for a fast level with zstd or in a library without ISA-L, and for a raw
 * image, -EBADF for an image that is not open for writing.
 */
QCOW2_API
int qcow2_set_compress_level(struct qcow2_image *img, uint32_t level,
			     struct qcow2_error *err);

/*
 * Makes everything durable that completed before the call.
 *
 * A write of metadata that failed (-ENOSPC, -EDQUOT, -EFBIG, -EIO and other
 * errors of the host) loses nothing: the changes wait in memory, the message
 * says so, and the next flush tries all of them again.  So after making room
 * the caller must flush, and everything that was acknowledged is durable once
 * the flush returns 0.  Reads and writes go on meanwhile; a write fails too,
 * with the same error, while so much waits that a flush has to come first.
 *
 * When the host's own flush failed once, or damage was found, the image takes
 * no more writes and every later flush fails too, until it is opened again:
 * nobody knows what reached the disk.
 */
QCOW2_API
int qcow2_flush(struct qcow2_image *img, struct qcow2_error *err);

/*
 * Brings an image whose flush failed back to taking changes, as far as nothing
 * can have been lost; to be called when the cause is gone (there is room
 * again).  Like qcow2_flush() it may run beside other calls, and waits for the
 * disk.  It does not matter whether anything had failed.  The image must be
 * open for writing (-EBADF).
 *
 * Returns 0 when everything that completed before the call is durable, and the
 * image takes changes.  A write of metadata that failed again gives its error
 * (-ENOSPC, -EDQUOT, -EFBIG and others, as from qcow2_flush()): nothing is
 * lost, and the caller may call again.
 *
 * Returns -EIO when there is no way back, and leaves the image as it is, fit
 * for reading only.  err->reason says why.  QCOW2_REASON_LOST: the host's own
 * flush failed, now or earlier, whatever its error was.  The host may have
 * dropped what was on its way and reports it only once, so another flush would
 * prove nothing; metadata could be written again, guest data could not, because
 * nobody keeps it.  The caller must close the image and its stores, open them
 * again, and write again what it wrote since its last qcow2_flush() that
 * returned 0: everything before that is there.  QCOW2_REASON_REPAIR: damage was
 * found, and qcow2_check_path() has to repair the image.
 */
QCOW2_API
int qcow2_recover(struct qcow2_image *img, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Queues                                                                    */

/*
 * A queue takes requests for one image and hands back their results later, so
 * that one thread can keep many under way.  A program has a queue for each of
 * its threads; any number of queues may serve one image, beside the calls
 * above.
 *
 *	submit   the caller describes requests; the queue begins them
 *	wait     qcow2_queue_fd() becomes readable, or qcow2_queue_reap() waits
 *	reap     the caller takes completions, in whatever order they came
 *
 * How a request is carried out.  If it needs no disk, it is done at once.  Reads
 * and writes of plain data in files go to the kernel's io_uring.  A request that
 * has to wait for metadata, for a neighbour, for new clusters or for a
 * compressor goes to a worker (see qcow2_pool_new()).  If the host has no io_uring, or the image's
 * store is not a file, workers do all of that.  A queue without workers does
 * it inside qcow2_queue_submit() and qcow2_queue_reap(), which block then.
 *
 * With QCOW2_NOWAIT a request completes with -EAGAIN if a worker would have to
 * do it.  So a queue never blocks its caller if it has workers, and neither
 * does one without workers whose requests all have QCOW2_NOWAIT.
 *
 * Order.  Requests may complete in any order.  Requests under way at the same
 * time that overlap take effect one after the other, as if several threads had
 * made them.  A request that must come after another is submitted after that
 * has completed.  A flush covers what completed before it was submitted,
 * through whichever queue or call, and nothing else.
 *
 * Threads.  A queue serves one thread at a time: calls on one queue must not
 * overlap, but need not come from the same thread.  Queues and pools belong to
 * the process that made them (see Fork); in a child every call returns -ECHILD,
 * and freeing does nothing.  Before qcow2_close() and the other calls that need
 * the image to themselves, nothing may be under way; before qcow2_close() all
 * queues must be freed.
 */
struct qcow2_queue;

/* Worker threads that any number of queues share. */
struct qcow2_pool;

struct qcow2_pool_opts {
	size_t struct_size;
	uint32_t n_threads;        /* 1 to 256; 0: 1 */
	uint32_t flags;            /* must be 0 */
	uint64_t reserved[2];      /* must be 0 */
};

#define QCOW2_POOL_OPTS_INIT { sizeof(struct qcow2_pool_opts), 0, 0, { 0, 0 } }

/*
 * Starts the threads; `opts` may be NULL for one.  All signals are blocked in
 * them.  Returns -EINVAL, -ENOMEM, or -EAGAIN when the host refuses threads.
 */
QCOW2_API
int qcow2_pool_new(const struct qcow2_pool_opts *opts, struct qcow2_pool **out,
		   struct qcow2_error *err);

/* Ends the threads; the caller must have freed the queues that use the pool.
 * `pool` may be NULL. */
QCOW2_API
void qcow2_pool_free(struct qcow2_pool *pool);

#define QCOW2_QUEUE_NO_RING 0x1u /* do not use io_uring */
#define QCOW2_QUEUE_NEED_RING 0x2u /* -ENOTSUP where io_uring cannot be used */
/* A thread of the kernel looks for requests, so that submitting needs no system
 * call while there are many; it takes a processor. */
#define QCOW2_QUEUE_SQPOLL 0x4u

struct qcow2_queue_opts {
	size_t struct_size;
	uint32_t flags;            /* QCOW2_QUEUE_* */
	uint32_t depth;            /* requests that are under way or wait to be
				    * reaped, at most: 1 to 4096; 0: 128 */
	struct qcow2_pool *pool;   /* NULL: the queue has its own workers */
	uint32_t n_workers;        /* of its own: 0 to 256; 0 with a pool */
	uint32_t sqpoll_idle_ms;   /* SQPOLL: the kernel's thread sleeps after
				    * so long; 0: 1000 */
	uint64_t reserved[4];      /* must be 0 */
};

#define QCOW2_QUEUE_OPTS_INIT { sizeof(struct qcow2_queue_opts), 0, 0, NULL, \
				0, 0, { 0, 0, 0, 0 } }

/*
 * Makes a queue for `img`; `opts` may be NULL for the defaults: 128 requests,
 * io_uring if the host has it, no workers.  Returns -EINVAL, -ENOMEM, -EAGAIN
 * when the host refuses threads, -ENOTSUP with NEED_RING, -ECHILD, or -EMFILE
 * and the like when there are no descriptors left.
 */
QCOW2_API
int qcow2_queue_new(struct qcow2_image *img,
		    const struct qcow2_queue_opts *opts,
		    struct qcow2_queue **out, struct qcow2_error *err);

/*
 * Frees the queue.  Requests that no worker has begun are forgotten; for those
 * that are being carried out the call waits.  No completion is handed back for
 * either: their buffers are the caller's again when the call returns, and
 * writes among them have happened or not.  `queue` may be NULL.
 */
QCOW2_API
void qcow2_queue_free(struct qcow2_queue *queue);

/*
 * Returns an eventfd that is readable when completions may have arrived since
 * the caller read from it.  It belongs to the queue, and does not block.  To
 * wait for it in a loop with other descriptors, the caller reads 8 bytes from
 * it once it is readable, and then reaps until nothing comes.  Returns -EINVAL
 * for NULL, or -ECHILD.
 */
QCOW2_API
int qcow2_queue_fd(const struct qcow2_queue *queue);

enum qcow2_op {
	QCOW2_OP_READ = 1,
	QCOW2_OP_WRITE = 2,
	QCOW2_OP_ZERO = 3,
	QCOW2_OP_DISCARD = 4,
	QCOW2_OP_FLUSH = 5,
	QCOW2_OP_WRITE_COMPRESSED = 6,
};

/*
 * One request.  Each operation is the call of the same name above, with its
 * flags, rules and errors: READ qcow2_preadv(), WRITE qcow2_pwritev(), ZERO
 * qcow2_zero(), DISCARD qcow2_discard(), FLUSH qcow2_flush(), WRITE_COMPRESSED
 * qcow2_write_compressed().  QCOW2_NOWAIT goes with all of them.
 */
struct qcow2_request {
	size_t struct_size;
	uint32_t op;               /* QCOW2_OP_* */
	uint32_t flags;            /* QCOW2_NOWAIT, QCOW2_FUA, QCOW2_ZERO_* */
	const struct iovec *iov;   /* READ, WRITE, WRITE_COMPRESSED; the vector
				    * and the bytes stay until completion */
	int32_t iovcnt;
	uint32_t reserved;         /* must be 0 */
	uint64_t off;              /* guest; 0 for FLUSH */
	uint64_t len;              /* ZERO, DISCARD; else 0, or the length of
				    * the vector */
	uint64_t user_data;        /* comes back with the completion */
	/* NULL, or filled before a failure is handed back; stays until
	 * completion. */
	struct qcow2_error *err;
	uint64_t reserved2[2];     /* must be 0 */
};

#define QCOW2_REQUEST_INIT { sizeof(struct qcow2_request), 0, 0, NULL, 0, 0, \
			     0, 0, 0, NULL, { 0, 0 } }

/*
 * Begins the first of `n` requests, an array whose members all have the
 * struct_size of the first.  *n_taken says how many were taken: fewer than `n`
 * if the queue is full, which is no error.  Requests that are wrong in
 * themselves are taken too, and complete with -EINVAL.  The array may go when
 * the call returns.
 *
 * Returns 0; -EINVAL for a NULL or a struct_size that is none; -ECHILD.
 */
QCOW2_API
int qcow2_queue_submit(struct qcow2_queue *queue,
		       const struct qcow2_request *requests, uint32_t n,
		       uint32_t *n_taken, struct qcow2_error *err);

struct qcow2_completion {
	size_t struct_size;
	uint64_t user_data;
	int32_t rc;                /* 0 or -errno, as of the call */
	uint32_t op;               /* of the request */
	uint64_t reserved[2];      /* 0 */
};

#define QCOW2_COMPLETION_INIT { sizeof(struct qcow2_completion), 0, 0, 0, \
				{ 0, 0 } }

/*
 * Takes up to `max` completions into `out`, an array; the caller sets
 * struct_size in its first member, and all members have that size.  *n says how
 * many came.  If there are none the call waits until there is one, for
 * `timeout_ms` milliseconds at most: 0 does not wait, -1 waits for ever.  It
 * does not wait if nothing is under way.  A signal ends the wait early, with
 * *n == 0.
 *
 * Returns 0; -EINVAL for a NULL, a `max` of 0 or a struct_size that is none;
 * -ECHILD; or the host's error of the wait.
 */
QCOW2_API
int qcow2_queue_reap(struct qcow2_queue *queue, struct qcow2_completion *out,
		     uint32_t max, int timeout_ms, uint32_t *n,
		     struct qcow2_error *err);

/* Waits until nothing is under way any more; the completions wait to be reaped.
 * Returns 0, -EINVAL for NULL, or -ECHILD. */
QCOW2_API
int qcow2_queue_drain(struct qcow2_queue *queue, struct qcow2_error *err);

/*
 * Names memory in which the caller's buffers lie, for as long as the queue
 * lives: requests whose vector is one segment inside of it cost the kernel less
 * (io_uring's registered buffers).  `iovcnt` is 1 to 1024; each segment is at
 * most 1 GiB.  The memory is locked, within RLIMIT_MEMLOCK.  Replaces what an
 * earlier call named, and needs a queue with nothing under way (-EBUSY).
 * Returns 0, also when it has no effect because there is no ring; -EINVAL,
 * -ENOMEM.
 */
QCOW2_API
int qcow2_queue_register(struct qcow2_queue *queue, const struct iovec *iov,
			 int iovcnt, struct qcow2_error *err);

/* What a queue is and did.  The caller must set struct_size. */
struct qcow2_queue_info {
	size_t struct_size;
	uint32_t has_ring;         /* io_uring is in use */
	uint32_t depth;
	uint32_t n_workers;        /* its own, or the pool's */
	uint32_t n_under_way;
	uint32_t n_ready;          /* completions that wait to be reaped */
	uint32_t reserved;
	uint64_t n_inline;         /* requests that were done at once */
	uint64_t n_ring;           /* whose data io_uring carried */
	uint64_t n_worker;         /* that a worker did */
	uint64_t n_blocking;       /* that blocked the caller: no worker */
	uint64_t reserved2[4];
};

#define QCOW2_QUEUE_INFO_INIT { sizeof(struct qcow2_queue_info), 0, 0, 0, 0, \
				0, 0, 0, 0, 0, 0, { 0, 0, 0, 0 } }

/* Fills *out.  Returns 0, -EINVAL or -ECHILD. */
QCOW2_API
int qcow2_queue_get_info(struct qcow2_queue *queue,
			 struct qcow2_queue_info *out,
			 struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Snapshots                                                                 */

/*
 * Internal snapshots of the top layer, which must be qcow2 and open for writing
 * (-EBADF).  Images with an external data file cannot have any (-ENOTSUP).
 *
 * Each operation is durable when it returns 0.  A crash leaves it done or not
 * done, and lost space at worst.  Creating and deleting may run while other
 * threads read, write and ask for information: writers wait until it is done,
 * and the others get the snapshots from before or after.
 */
struct qcow2_snapshot_opts {
	size_t struct_size;
	uint32_t flags;             /* must be 0 */
	uint32_t date_sec;          /* since 1970-01-01 UTC; if date_nsec is 0
				     * too: now */
	uint32_t date_nsec;
	uint32_t reserved;          /* must be 0 */
	uint64_t vm_clock_ns;
	uint64_t icount;            /* UINT64_MAX: not recorded */
	uint64_t vm_state_size;     /* bytes that qcow2_vmstate_write() wrote
				     * for it; only it has them then */
	const char *id;             /* NULL: one more than the largest id that
				     * is a number */
	/* Called while all tables are read, and changed.  It must not resize
	 * the image, nor write to it, take or delete snapshots. */
	qcow2_progress_fn *progress;
	void *opaque;
};

#define QCOW2_SNAPSHOT_OPTS_INIT { sizeof(struct qcow2_snapshot_opts), 0, 0, \
				   0, 0, 0, 0, 0, NULL, NULL, NULL }

/*
 * Keeps the disk as it is under a name, which other snapshots may have too.
 * `opts` may be NULL.  Returns -EINVAL for a name or id that is empty or not
 * UTF-8, -EEXIST for an id that exists, -ENAMETOOLONG for a name of more than
 * 255 bytes, -EFBIG at the limit of snapshots or of their table, -ERANGE when a
 * refcount is too narrow to count one more, -ECANCELED when opts->progress
 * stopped it, -ENOSPC, or -EIO when the image is damaged; the image has no new
 * snapshot then.
 */
QCOW2_API
int qcow2_snapshot_create(struct qcow2_image *img, const char *name,
			  const struct qcow2_snapshot_opts *opts,
			  struct qcow2_error *err);

/*
 * Gives the disk the snapshot's contents and size; the snapshot stays.  The
 * call finds it by id, then by name (-ENOENT).  Returns -ENOTSUP when the image
 * has persistent bitmaps, which would no longer match the disk.  No other call
 * may be running on the image, as for qcow2_close().
 */
QCOW2_API
int qcow2_snapshot_apply(struct qcow2_image *img, const char *id_or_name,
			 struct qcow2_error *err);

/* Forgets a snapshot, found in the same way, and frees what only it used, by
 * the discard policy for snapshots. */
QCOW2_API
int qcow2_snapshot_delete(struct qcow2_image *img, const char *id_or_name,
			  struct qcow2_error *err);

/*
 * These write and read the VM state that belongs to the disk.
 * qcow2_snapshot_create() keeps the state written before it with the snapshot,
 * and qcow2_snapshot_apply() brings it back.  Offsets count from the state's
 * own start, and it ends where the L1 table would exceed its limit (-EFBIG).
 * Reading works in a snapshot's view too; bytes never written read as zeros.
 * The state is durable after qcow2_flush().  While VM state is written no other
 * call may be running on the image.
 */
QCOW2_API
int qcow2_vmstate_write(struct qcow2_image *img, const void *buf, size_t len,
			uint64_t off, struct qcow2_error *err);
QCOW2_API
int qcow2_vmstate_read(struct qcow2_image *img, void *buf, size_t len,
		       uint64_t off, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Map                                                                       */

#define QCOW2_EXTENT_DATA 0x1u       /* stored somewhere; read it */
#define QCOW2_EXTENT_ZERO 0x2u       /* reads as zeros */
#define QCOW2_EXTENT_PRESENT 0x4u    /* a layer of the chain says so itself;
				      * without the flag nothing is allocated */
#define QCOW2_EXTENT_COMPRESSED 0x8u
#define QCOW2_EXTENT_HOST_OFF 0x10u  /* host_off is valid */

struct qcow2_extent {
	uint64_t off;      /* guest */
	uint64_t len;
	uint64_t host_off; /* in the file that qcow2_layer_filename(depth)
			    * names, or that layer's data file if it has one */
	uint32_t flags;    /* QCOW2_EXTENT_* */
	uint32_t depth;    /* layer that decides: 0 is the top */
	uint64_t reserved[2]; /* 0 */
};

#define QCOW2_MAP_TOP_ONLY 0x1u /* do not look below the top layer */
/* Leave host offsets out, so that an extent goes on where the host's does not:
 * for callers that want to know what the disk has, not where it is. */
#define QCOW2_MAP_MERGE 0x2u

/*
 * Fills *out with the extent that begins at guest offset `off`.  It goes on as
 * long as everything in struct qcow2_extent stays the same (host offsets
 * contiguous), for at most `len` bytes.  To walk the disk the caller calls it
 * again with off + out->len; a walk costs time in proportion to the metadata
 * that exists, not to the disk. [off, off+len) must lie inside the disk and len
 * must not be 0 (-EINVAL). flags takes QCOW2_MAP_*.  Returns -EIO for damaged
 * metadata, and -E2BIG, for every extent, when entries of an L1 table share so
 * many L2 tables that a walk would take time out of proportion to the file.
 * All functions that go through a whole disk return that error, before they
 * change anything.
 */
QCOW2_API
int qcow2_map(struct qcow2_image *img, uint64_t len, uint64_t off,
	      unsigned flags, struct qcow2_extent *out,
	      struct qcow2_error *err);

/*
 * Totals of a disk, by its metadata.  The first four add up to its virtual
 * size: each byte of the disk counts in one of them.
 */
struct qcow2_usage {
	size_t struct_size;
	uint64_t data_bytes;        /* stored as they are */
	uint64_t zero_bytes;        /* a layer says that they are zeros, or
				     * stores them in a hole of its file */
	uint64_t compressed_bytes;  /* stored compressed: their size before */
	uint64_t unallocated_bytes; /* none of the layers asked has them */
	uint64_t host_bytes;        /* have a place in a file of their own, also
				     * reserved ones that read as zeros; not
				     * compressed or encrypted ones */
	uint64_t extents;           /* that qcow2_map() with these flags gives,
				     * one after the other */
	uint64_t reserved[8];       /* 0 */
};

#define QCOW2_USAGE_INIT { sizeof(struct qcow2_usage), 0, 0, 0, 0, 0, 0, \
	{ 0, 0, 0, 0, 0, 0, 0, 0 } }

/*
 * Adds up the whole map of a disk.  map_flags takes QCOW2_MAP_*: with
 * QCOW2_MAP_TOP_ONLY the layers below the top are not asked, and what only they
 * have counts as unallocated; QCOW2_MAP_MERGE changes nothing but `extents`.
 * The caller must set out->struct_size.
 *
 * The call reads all metadata of the layers asked, and waits for the host as a
 * walk with qcow2_map() does; it reads no data and changes nothing.  Any thread
 * may call it at any time.  If others write meanwhile, each extent counts as it
 * was at some moment during the call.
 *
 * Returns -EINVAL for unknown flags or an unset struct_size, and the errors of
 * qcow2_map(); *out is as it was then.
 */
QCOW2_API
int qcow2_get_usage(struct qcow2_image *img, unsigned map_flags,
		    struct qcow2_usage *out, struct qcow2_error *err);

#define QCOW2_DIFF_MAY_DIFFER 0x1u /* else both read the same bytes */

struct qcow2_diff_extent {
	size_t struct_size;
	uint64_t off;               /* guest */
	uint64_t len;
	uint32_t flags;             /* QCOW2_DIFF_* */
	uint32_t reserved;          /* 0 */
	uint64_t more[4];           /* 0 */
};

#define QCOW2_DIFF_EXTENT_INIT { sizeof(struct qcow2_diff_extent), 0, 0, 0, 0, \
	{ 0, 0, 0, 0 } }

/*
 * Says where two disks may differ, by their metadata alone: two snapshots of
 * one image, a snapshot and the disk, or two images of one chain.  It fills
 * *out with the extent that begins at guest offset `off`, and goes on for at
 * most `len` bytes as long as the answer stays the same.  To walk the disks the
 * caller calls it again with off + out->len.  A walk costs what two walks with
 * qcow2_map() do.
 *
 * Without QCOW2_DIFF_MAY_DIFFER both disks read the same bytes there: zeros, or
 * what is stored at the same place of the same file.  Everything else may
 * differ, also bytes that are equal and stored twice.  Files are the same by
 * device and inode, and stores of the caller's by their identity or by being
 * the same store.  [off, off+len) must lie inside the larger disk, and len must
 * not be 0 (-EINVAL); past its end the smaller one reads as zeros.  flags must
 * be 0.  The caller must set out->struct_size.
 *
 * Nobody but `older` and `newer` may write to the files of the two meanwhile.
 * If one of them is open for writing, what its own file or data file holds
 * counts as the same only if the other is the view of a snapshot of it: a write
 * goes around the clusters of a snapshot, and overwrites others in place.  So
 * the caller should take `older` from a snapshot, and for an answer that stays
 * true `newer` as well; else the answer was true at some moment during the
 * call.  Any thread may call it, on the same images too.
 *
 * Returns -EINVAL as said, -EIO for damaged metadata in one of them, and the
 * other errors of qcow2_map().  It reads no data and changes nothing.
 */
QCOW2_API
int qcow2_diff(struct qcow2_image *older, struct qcow2_image *newer,
	       uint64_t len, uint64_t off, unsigned flags,
	       struct qcow2_diff_extent *out, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Information                                                               */

enum qcow2_compression {
	QCOW2_COMPRESSION_ZLIB = 0,
	QCOW2_COMPRESSION_ZSTD = 1,
};

enum qcow2_encryption {
	QCOW2_ENCRYPTION_NONE = 0,
	QCOW2_ENCRYPTION_AES = 1,
	QCOW2_ENCRYPTION_LUKS = 2,
};

/*
 * The contents of the header of one layer.  Strings belong to the image, live
 * until it is closed, are NUL-terminated and not escaped; they are NULL when
 * absent.  For a raw layer only format, virtual_size, file_size,
 * allocated_bytes and filename mean something.
 */
struct qcow2_info {
	size_t struct_size;
	uint32_t format;           /* QCOW2_FORMAT_QCOW2 or _RAW */
	uint32_t version;          /* 2 or 3 */
	uint64_t virtual_size;
	uint64_t file_size;        /* of the image file, now */
	uint64_t allocated_bytes;  /* host space in use by the image file */
	uint32_t cluster_size;
	uint32_t refcount_bits;
	uint64_t incompatible_features;
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t compression;      /* QCOW2_COMPRESSION_* */
	uint32_t encryption;       /* QCOW2_ENCRYPTION_* */
	uint8_t dirty;             /* refcounts may be stale */
	uint8_t corrupt;
	uint8_t lazy_refcounts;
	uint8_t extended_l2;
	uint8_t data_file_raw;
	uint8_t has_data_file;
	uint8_t self_contained;    /* it names no other file */
	uint8_t unlocked;          /* open with a lock, but the host has none
				    * for this file or its data file: other
				    * programs are not kept out */
	uint32_t n_snapshots;
	uint32_t n_bitmaps;        /* also 0 when the directory is damaged */
	const char *filename;
	const char *backing_file;
	const char *backing_format;
	const char *data_file;     /* also NULL when the bit is set without
				    * name */
	uint64_t refcounts_raised; /* refcounts of this image that were too low
				    * and have been raised since it was
				    * opened for writing */
	uint32_t lacks;            /* QCOW2_LACKS_*: parts that cannot be
				    * read */
	uint32_t reserved2;
};

/* Parts of an image that lie past the end of its file, if the file holds only
 * the beginning of the image.  They occur with METADATA_ONLY alone, except
 * SNAPSHOT_TABLE, which is set for a damaged table too (n_snapshots is 0
 * then). */
#define QCOW2_LACKS_NAMES 0x1u  /* names may be missing here */
#define QCOW2_LACKS_L1_TABLE 0x2u
#define QCOW2_LACKS_REFCOUNT_TABLE 0x4u
#define QCOW2_LACKS_SNAPSHOT_TABLE 0x8u
#define QCOW2_LACKS_BITMAP_DIRECTORY 0x10u /* or it is damaged */

#define QCOW2_INFO_INIT { sizeof(struct qcow2_info), 0, 0, 0, 0, 0, 0, 0, 0, \
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, \
	0, 0, 0 }

/* Returns the number of layers that are open: 1 + backing files. */
QCOW2_API
uint32_t qcow2_layer_count(const struct qcow2_image *img);

/* Fills *out for layer `depth` (0 is the top).  The caller must set
 * out->struct_size.  Returns -EINVAL otherwise or when there is no such
 * layer. */
QCOW2_API
int qcow2_get_info(struct qcow2_image *img, uint32_t depth,
		   struct qcow2_info *out, struct qcow2_error *err);

/*
 * The requests that suit an image, for programs that announce a device to a
 * guest.  All sizes are in bytes, and all but the limits powers of two.  The
 * library accepts other requests too, and does what they need.
 */
struct qcow2_limits {
	size_t struct_size;
	uint32_t request_align;    /* offsets and lengths that are no multiples
				    * cost a read, or a copy */
	uint32_t mem_align;        /* the same for addresses of buffers, and the
				    * lengths of segments */
	uint32_t request_best;     /* writes of multiples of it, at multiples,
				    * copy nothing when they allocate */
	uint32_t vector_max;       /* segments of one request */
	uint32_t cluster_bytes;    /* 0 for a raw disk, as the next one */
	uint32_t subcluster_bytes; /* the cluster's size without extended L2
				    * entries */
	uint32_t discard_align;    /* qcow2_discard() leaves parts of it as they
				    * are */
	uint32_t zero_align;       /* qcow2_zero() may write zeros into parts of
				    * it */
	uint64_t discard_max;      /* of one request; 0: no limit */
	uint64_t zero_max;         /* likewise */
	uint32_t read_only;        /* 1: requests that write fail (-EBADF) */
	uint32_t open_flags;       /* QCOW2_OPEN_*: as it was opened */
	uint64_t reserved[4];      /* 0 */
};

#define QCOW2_LIMITS_INIT { sizeof(struct qcow2_limits), 0, 0, 0, 0, 0, 0, \
	0, 0, 0, 0, 0, 0, { 0, 0, 0, 0 } }

/*
 * Fills *out for the image as it is open now.  The caller must set
 * out->struct_size (-EINVAL).  request_align and mem_align are larger than 1
 * with QCOW2_OPEN_DIRECT, and for stores of the caller's that say so.  Any
 * thread may ask; the call does no I/O and waits for nobody.
 */
QCOW2_API
int qcow2_get_limits(struct qcow2_image *img, struct qcow2_limits *out,
		     struct qcow2_error *err);

/* Returns the path by which layer `depth` was opened, resolved against the
 * image that named it; NULL when there is no such layer. */
QCOW2_API
const char *qcow2_layer_filename(const struct qcow2_image *img, uint32_t depth);

/* Returns the path of that layer's external data file when one is open, else
 * NULL. */
QCOW2_API
const char *qcow2_layer_data_filename(const struct qcow2_image *img,
				      uint32_t depth);

/* One internal snapshot of the top layer (section "Snapshots"). */
struct qcow2_snapshot_info {
	size_t struct_size;
	const char *id;            /* owned by the image, not escaped */
	const char *name;
	uint64_t vm_state_size;
	uint64_t disk_size;        /* virtual size when it was taken */
	uint64_t vm_clock_ns;
	uint64_t icount;           /* UINT64_MAX when not recorded */
	uint32_t date_sec;         /* since 1970-01-01 UTC */
	uint32_t date_nsec;
};

#define QCOW2_SNAPSHOT_INFO_INIT { sizeof(struct qcow2_snapshot_info), \
	NULL, NULL, 0, 0, 0, 0, 0, 0 }

/*
 * Fills *out for snapshot `index`, 0 to n_snapshots - 1, in table order.
 * Returns -EINVAL for another index, and -EINVAL with err->defect if the
 * snapshot table cannot be read (QCOW2_LACKS_SNAPSHOT_TABLE).  The strings live
 * until that snapshot is deleted: a caller that cannot know when must ask for
 * its own list.
 */
QCOW2_API
int qcow2_get_snapshot(struct qcow2_image *img, uint32_t index,
		       struct qcow2_snapshot_info *out,
		       struct qcow2_error *err);

/*
 * A copy of all snapshots of the top layer as they are now, which changes no
 * more.  It is for a thread that watches while others make and delete
 * snapshots.  An image that can have none, such as a raw one, has an empty
 * list.  An image whose snapshot table cannot be read has no list: the call
 * returns -EINVAL, and err->defect says what is wrong with the table.  It may
 * return -ENOMEM, and does no I/O.
 */
struct qcow2_snapshot_list;

QCOW2_API
int qcow2_snapshot_list_new(struct qcow2_image *img,
			    struct qcow2_snapshot_list **out,
			    struct qcow2_error *err);
QCOW2_API
uint32_t qcow2_snapshot_list_count(const struct qcow2_snapshot_list *list);
/* Fills *out for number `index`, 0 to count - 1, in table order; else returns
 * -EINVAL.  The strings live as long as the list. */
QCOW2_API
int qcow2_snapshot_list_get(const struct qcow2_snapshot_list *list,
			    uint32_t index, struct qcow2_snapshot_info *out,
			    struct qcow2_error *err);
/* Frees the list, also after qcow2_close().  `list` may be NULL. */
QCOW2_API
void qcow2_snapshot_list_free(struct qcow2_snapshot_list *list);

#define QCOW2_BITMAP_IN_USE 0x1u /* inconsistent: was not closed properly */
#define QCOW2_BITMAP_AUTO 0x2u   /* tracks writes */

/* One persistent bitmap of the top layer (section "Bitmaps"). */
struct qcow2_bitmap_info {
	size_t struct_size;
	const char *name;          /* owned by the image, not escaped */
	uint64_t granularity;      /* bytes per bit */
	uint32_t flags;            /* QCOW2_BITMAP_* */
	uint32_t reserved;
};

#define QCOW2_BITMAP_INFO_INIT { sizeof(struct qcow2_bitmap_info), NULL, 0, \
				 0, 0 }

/* Fills *out for bitmap `index`, 0 to n_bitmaps - 1, in directory order; else
 * returns -EINVAL. */
QCOW2_API
int qcow2_get_bitmap(struct qcow2_image *img, uint32_t index,
		     struct qcow2_bitmap_info *out, struct qcow2_error *err);

#define QCOW2_LUKS_SLOTS 8

struct qcow2_luks_slot {
	uint32_t active;           /* 0 or 1 */
	uint32_t iterations;
	uint32_t stripes;
	uint32_t reserved;
	uint64_t key_off;          /* bytes from the start of the LUKS header */
	uint64_t more[2];          /* 0 */
};

/* The LUKS header of an encrypted top layer; strings owned by the image. */
struct qcow2_luks_info {
	size_t struct_size;
	const char *cipher_name;   /* such as "aes" */
	const char *cipher_mode;   /* such as "xts-plain64" */
	const char *hash;          /* such as "sha256" */
	const char *uuid;
	uint64_t payload_off;      /* bytes */
	uint32_t key_bytes;
	uint32_t iterations;       /* of the master key digest */
	struct qcow2_luks_slot slots[QCOW2_LUKS_SLOTS];
};

#define QCOW2_LUKS_INFO_INIT { sizeof(struct qcow2_luks_info), NULL, NULL, \
	NULL, NULL, 0, 0, 0, { { 0, 0, 0, 0, 0, { 0, 0 } } } }

/* Returns -ENOENT when the image is not LUKS-encrypted, -EIO when the header is
 * unreadable, -EINVAL when it is broken. */
QCOW2_API
int qcow2_get_luks(struct qcow2_image *img, struct qcow2_luks_info *out,
		   struct qcow2_error *err);

/* Returns the name that the image's feature name table gives to a feature bit,
 * or NULL. type: 0 incompatible, 1 compatible, 2 autoclear; bit: 0 to 63. */
QCOW2_API
const char *qcow2_feature_name(struct qcow2_image *img, unsigned type,
			       unsigned bit);

/* ------------------------------------------------------------------------- */
/* Statistics                                                                */

/* Steps of latency: the first has what took less than 1024 ns, each one behind
 * it what took less than twice as long as the one before, and the last all that
 * took longer: 2^32 ns and more. */
#define QCOW2_LATENCY_STEPS 24

/* Requests of one kind that callers made of an image, or that reached a layer
 * of it.  A request that a function refuses because of its arguments (-EINVAL)
 * counts nowhere.  The times are of the requests in `done`; taking them costs a
 * request two readings of the clock (CLOCK_MONOTONIC), 60 ns where that was
 * measured. */
struct qcow2_request_stats {
	uint64_t done;       /* requests that returned 0 */
	uint64_t bytes;      /* their lengths together; 0 for flushes */
	uint64_t failed;     /* requests that failed, but not by: */
	uint64_t again;      /* -EAGAIN */
	uint64_t ns;         /* nanoseconds that they took together */
	uint64_t ns_max;     /* the longest of them */
	uint64_t n_by_ns[QCOW2_LATENCY_STEPS]; /* how many there are of them in
						* each step of latency */
	uint64_t reserved[2]; /* 0 */
};

/* Requests that the library made of a store; failed ones are in `failed` and
 * nowhere else. */
struct qcow2_file_stats {
	uint64_t reads;
	uint64_t read_bytes;
	uint64_t writes;
	uint64_t write_bytes;
	uint64_t zeroes;     /* calls that zero or punch; zeros written instead
			      * are in `writes` */
	uint64_t zero_bytes;
	uint64_t barriers;   /* flushes, also if the store had nothing to do or
			      * was opened not to */
	uint64_t failed;
	uint64_t reserved[2]; /* 0 */
};

/* A cache of tables, in slices of some KiB. */
struct qcow2_cache_stats {
	uint64_t hits;       /* a slice was there, or already being read */
	uint64_t misses;     /* a slice had to be read; slices read ahead with
			      * it do not count */
	uint64_t evictions;  /* slices that left to make room, or were not used
			      * for cache_clean_sec */
	uint64_t bytes;      /* bytes that slices take now */
	uint64_t bytes_max;  /* bytes they may take, as long as none is in
			      * use */
	uint64_t reserved[3]; /* 0 */
};

/*
 * The work done with one layer.  All but `bytes`, `bytes_max`, `waiting_bytes`
 * and `dirty_bytes` only grow, and count since the image was opened, opening
 * included.  The numbers of a store that the caller made (qcow2_open_store(), a
 * gate) count since it was made, and for all its users together.  The numbers
 * of the refcount cache, and of clusters allocated and freed, start anew after
 * qcow2_amend() has changed refcount_bits.
 */
struct qcow2_stats {
	size_t struct_size;
	/* Calls of the functions of these names.  They do not count the reads
	 * and writes of jobs such as qcow2_convert().  Below the top layer there
	 * are only reads: those that reached the layer, since no layer above
	 * has the bytes, also for jobs and for copies beside a write. */
	struct qcow2_request_stats read;
	struct qcow2_request_stats write;
	struct qcow2_request_stats write_compressed;
	struct qcow2_request_stats zero;
	struct qcow2_request_stats discard;
	struct qcow2_request_stats flush;
	/* The image file or raw file, and the external data file.  They do not
	 * count what the host copies by itself, for qcow2_convert(). */
	struct qcow2_file_stats file;
	struct qcow2_file_stats data_file;
	struct qcow2_cache_stats l2_cache;
	uint64_t decompressed_clusters;
	/* All below belongs to the writer: it is 0 in a layer that is read
	 * only. */
	struct qcow2_cache_stats refcount_cache;
	uint64_t copied_bytes;       /* of the disk: copied to new clusters
				      * beside what the caller wrote */
	uint64_t allocated_clusters; /* of the image file: came into use, also
				      * for metadata, or ahead of need */
	uint64_t freed_clusters;     /* nothing uses them any more; also
				      * clusters not needed after all */
	uint64_t waiting_bytes;      /* now: freed by the disk, and not yet free
				      * for others, because a commit or a reader
				      * is under way */
	uint64_t commits;            /* of metadata, also if they had nothing to
				      * write, or failed */
	uint64_t overlap_checks;     /* questions to the overlap guard */
	uint64_t dirty_bytes;        /* now: metadata in memory that is not on
				      * the disk yet */
	uint64_t allocated_end;      /* host offset past the last cluster of the
				      * image file that is in use, or was since
				      * the image was opened; clusters count as
				      * soon as they are set aside, some MiB
				      * ahead of need */
};

#define QCOW2_REQUEST_STATS_INIT { 0, 0, 0, 0, 0, 0, { 0 }, { 0, 0 } }
#define QCOW2_FILE_STATS_INIT { 0, 0, 0, 0, 0, 0, 0, 0, { 0, 0 } }
#define QCOW2_CACHE_STATS_INIT { 0, 0, 0, 0, 0, { 0, 0, 0 } }
#define QCOW2_STATS_INIT { sizeof(struct qcow2_stats), \
	QCOW2_REQUEST_STATS_INIT, QCOW2_REQUEST_STATS_INIT, \
	QCOW2_REQUEST_STATS_INIT, QCOW2_REQUEST_STATS_INIT, \
	QCOW2_REQUEST_STATS_INIT, QCOW2_REQUEST_STATS_INIT, \
	QCOW2_FILE_STATS_INIT, QCOW2_FILE_STATS_INIT, QCOW2_CACHE_STATS_INIT, \
	0, QCOW2_CACHE_STATS_INIT, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * Fills *out for layer `depth` (0 is the top).  The caller must set
 * out->struct_size.  Returns -EINVAL otherwise or when there is no such layer.
 *
 * Any thread may ask while others use the image.  A call counts when it
 * returns; a call that runs meanwhile may count in one number and not yet in
 * another.  This costs some microseconds, does no I/O and waits for none, but
 * for the first call for a layer that is open for writing, which reads some KiB
 * of refcounts for `allocated_end`.
 * There is nothing to reset: to know what happened between two moments, the
 * caller subtracts.
 */
QCOW2_API
int qcow2_get_stats(struct qcow2_image *img, uint32_t depth,
		    struct qcow2_stats *out, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Hearing of events                                                         */

/*
 * Sets the function that hears of the image's events, instead of the one that
 * was there; NULL takes it away.  What has happened before, and nobody has
 * heard of, is told before the call returns.  qcow2_open_opts has the function
 * too, for what happens at opening.
 *
 * The library calls `fn` near the end of a call of the caller's that changes
 * the image, on that thread, before it returns: the call in which the event came
 * up, or another one that ends sooner.  So several threads may be in `fn` at
 * once.  The library holds no lock meanwhile, and nothing that the call did
 * depends on what `fn` does; but a thread of qcow2_convert_into() may keep the
 * others waiting for it.  Each event is told once.  qcow2_close() tells none:
 * its result says what failed.
 *
 * `fn` may call qcow2_size(), qcow2_get_stats(), qcow2_get_info(),
 * qcow2_layer_count(), qcow2_layer_filename(), qcow2_layer_data_filename(),
 * qcow2_set_write_threshold() and this function for the image, and what it likes
 * for others.  It must not call any other function for it: the call that is
 * ending may be one that has the image to itself.
 *
 * When `fn` is replaced, taken away, or the image closed, and no thread is in it
 * any more, `free_opaque` is called with `opaque`, once; it may be NULL, and must
 * be if `fn` is.  Not in a forked child.
 *
 * Returns 0; on failure nothing has changed, and `opaque` stays the caller's:
 * -EINVAL, or -ENOMEM.  Any thread may call it while others use the image.
 */
QCOW2_API
int qcow2_set_event_fn(struct qcow2_image *img, qcow2_event_fn *fn,
		       void *opaque, void (*free_opaque)(void *opaque),
		       struct qcow2_error *err);

/*
 * Asks for one QCOW2_EVENT_WRITE_THRESHOLD when the end of allocation
 * (allocated_end of struct qcow2_stats) lies behind host offset `host_off`: for
 * an image on a volume that is made larger before it is full.  If it lies there
 * already, the event is told before the call returns.  An offset replaces the
 * one before, and 0 takes it away.  The event comes before the call returns that
 * passed the offset, even if that call fails; a single long write may go on
 * behind it.
 *
 * Returns -EBADF unless the image is open for writing, and -ENOTSUP for a raw
 * one.  May read refcounts, once.  Any thread may call it while others use the
 * image.
 */
QCOW2_API
int qcow2_set_write_threshold(struct qcow2_image *img, uint64_t host_off,
			      struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Create                                                                    */

/*
 * Says where a function puts the file that it makes at a path.
 *
 * A file that is not there yet appears under its name when it is complete.  A
 * file that is there is replaced by the complete new one, which keeps the old
 * one's owner, group, mode, access lists, security label and other extended
 * attributes.  Until then, and on any failure, the old one is untouched.  If
 * the host has files without a name (O_TMPFILE), nothing of the new one is left
 * even when the program is killed.  A file that got the name since, or took the
 * old one's place, stays: the new one is discarded with -EEXIST.
 *
 * If that is impossible, or would lose something, the function writes the file
 * that is there in place: its old contents are lost when that begins, and a
 * failure leaves part of the new ones.  QCOW2_*_IN_PLACE asks for that.
 * QCOW2_*_REPLACE forbids it: the function refuses a file that it cannot
 * replace with -EINVAL, and other names (hard links) keep the old file.
 * Programs that have it open without a lock keep the old file, too.
 *
 * The function fills it before the work begins.
 */
struct qcow2_placement {
	size_t struct_size;
	uint32_t how;               /* QCOW2_PLACED_* */
	uint32_t reason;            /* QCOW2_IN_PLACE_* */
	uint64_t reserved[2];
};

#define QCOW2_PLACEMENT_INIT { sizeof(struct qcow2_placement), 0, 0, { 0, 0 } }

enum qcow2_placed {
	QCOW2_PLACED_NOWHERE = 0,  /* the call failed before */
	QCOW2_PLACED_NEW = 1,      /* there was no file of that name */
	QCOW2_PLACED_REPLACED = 2,
	QCOW2_PLACED_IN_PLACE = 3,
};

enum qcow2_in_place {
	QCOW2_IN_PLACE_NO = 0,         /* it is not */
	QCOW2_IN_PLACE_ASKED = 1,      /* by the flag */
	QCOW2_IN_PLACE_DEVICE = 2,     /* a block device */
	QCOW2_IN_PLACE_DESCRIPTOR = 3, /* /proc/self/fd/N, /dev/stdout */
	QCOW2_IN_PLACE_MOUNT = 4,      /* a file that is a mount point */
	QCOW2_IN_PLACE_DIRECTORY = 5,  /* it cannot be written to, or is sticky
					* and the file another's */
	QCOW2_IN_PLACE_LINKS = 6,      /* it has other names */
	QCOW2_IN_PLACE_ATTRIBUTES = 7, /* owner, group, mode or an extended
					* attribute cannot be kept */
	QCOW2_IN_PLACE_ROOM = 8,       /* there is none for both files */
};

enum qcow2_preallocation {
	QCOW2_PREALLOC_OFF = 0,
	QCOW2_PREALLOC_METADATA = 1, /* all tables, data clusters as holes */
	QCOW2_PREALLOC_FALLOC = 2,   /* and host space reserved */
	QCOW2_PREALLOC_FULL = 3,     /* and written with zeros */
};

#define QCOW2_CREATE_EXTENDED_L2 0x1u
#define QCOW2_CREATE_LAZY_REFCOUNTS 0x2u
#define QCOW2_CREATE_DATA_FILE_RAW 0x4u
#define QCOW2_CREATE_EXCL 0x8u /* -EEXIST if there is a file already */
/* The caller means a virtual_size of 0: a disk of no bytes, to be resized
 * later. */
#define QCOW2_CREATE_SIZE_ZERO 0x10u
#define QCOW2_CREATE_IN_PLACE 0x20u /* see struct qcow2_placement; paths only */
#define QCOW2_CREATE_REPLACE 0x40u

struct qcow2_create_opts {
	size_t struct_size;
	uint64_t virtual_size;      /* rounded up to a multiple of 512; must be
				     * set, or QCOW2_CREATE_SIZE_ZERO */
	uint32_t flags;             /* QCOW2_CREATE_* */
	uint32_t version;           /* 2 or 3; default 3 */
	uint32_t cluster_size;      /* power of two, 512 to 2 MiB; 64 KiB */
	uint32_t refcount_bits;     /* 1,2,4,...,64; default 16; v2: only 16 */
	uint32_t compression;       /* QCOW2_COMPRESSION_* */
	uint32_t preallocation;     /* QCOW2_PREALLOC_* */
	const char *backing_file;   /* recorded, not opened; NULL: none */
	const char *backing_format; /* required with backing_file */
	const char *data_file;      /* recorded; created as raw file */
	/* Receives how the image was placed; qcow2_create_path() only.  NULL:
	 * not asked. */
	struct qcow2_placement *placement;
};

#define QCOW2_CREATE_OPTS_INIT { sizeof(struct qcow2_create_opts), 0, 0, 0, \
	0, 0, QCOW2_COMPRESSION_ZLIB, QCOW2_PREALLOC_OFF, NULL, NULL, NULL, \
	NULL }

/*
 * Makes an image at `path`; struct qcow2_placement says how, and what becomes
 * of a file that is there already.  A file written in place gets its header
 * last.  The data file, if any, is made in the same way at its path relative to
 * the image's directory, and appears first.  Returns -EINVAL for a size that is
 * not set, for options that contradict each other or a limit of the format, and
 * for a backing file or data file that is the image itself, by whatever name;
 * -EFBIG for a virtual size that needs more than 32 MiB of L1 table; or the
 * error of the host.  On failure `path` is untouched unless it was written in
 * place.  The function does not look below the backing file.
 */
QCOW2_API
int qcow2_create_path(const char *path, const struct qcow2_create_opts *opts,
		      struct qcow2_error *err);

/* Does the same into stores, which it empties first.  `data` is the store of
 * the external data file, required exactly when opts->data_file is set.
 * Returns -EBUSY when another program, or another user of a store, is in the
 * way. */
QCOW2_API
int qcow2_create_store(struct qcow2_store *store, struct qcow2_store *data,
		       const struct qcow2_create_opts *opts,
		       struct qcow2_error *err);

/*
 * These create an image as the two functions above do and open it as by
 * qcow2_open_path() or qcow2_open_store(), under one lock: between the two
 * steps nobody else can open the image or its data file, or take their place.
 *
 * The image is open for writing: QCOW2_OPEN_RDWR is implied, and `open` may be
 * NULL.  Its gate is asked for the backing file, unless QCOW2_OPEN_NO_BACKING
 * is set, and not for the data file, which was made with the image.  At a path
 * QCOW2_OPEN_DIRECT and QCOW2_OPEN_NO_FLUSH hold for the creation too: with
 * NO_FLUSH a host crash may leave an incomplete file under the new name.
 *
 * An image at a path is opened before it gets its name, so if that fails, the
 * path is as it was, unless it was written in place.  A store has a new, empty
 * image then.  Else the image is durable, and flushed, when the call returns 0.
 * Like creating and opening it waits for the host.
 *
 * Returns the errors of both steps; also -EINVAL for QCOW2_OPEN_NO_LOCK,
 * QCOW2_OPEN_METADATA_ONLY, a snapshot, and a format other than qcow2.
 */
QCOW2_API
int qcow2_create_open_path(const char *path,
			   const struct qcow2_create_opts *create,
			   const struct qcow2_open_opts *open,
			   struct qcow2_image **out, struct qcow2_error *err);
QCOW2_API
int qcow2_create_open_store(struct qcow2_store *store, struct qcow2_store *data,
			    const struct qcow2_create_opts *create,
			    const struct qcow2_open_opts *open,
			    struct qcow2_image **out, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Resize and amend                                                          */

#define QCOW2_RESIZE_SHRINK 0x1u /* data beyond the new end may be lost */

struct qcow2_resize_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_RESIZE_* */
	/* QCOW2_PREALLOC_*, for the area that the disk grows by; METADATA is
	 * for qcow2 only. */
	uint32_t preallocation;
	/* Called while space is preallocated, in bytes of the new area.  It
	 * must not resize the image, nor take or delete snapshots. */
	qcow2_progress_fn *progress;
	void *opaque;
};

#define QCOW2_RESIZE_OPTS_INIT { sizeof(struct qcow2_resize_opts), 0, \
				 QCOW2_PREALLOC_OFF, NULL, NULL }

/*
 * Gives the disk another size, a multiple of 512.  The area that it grows by
 * reads as zeros, over a longer backing file too; VM state that no snapshot has
 * is lost.  The image must be open for writing (-EBADF).  Snapshots keep the
 * size they have; persistent bitmaps get the disk's, with bits of 0 for the new
 * area.  `opts` may be NULL.
 *
 * A disk may become larger while other threads read, write, map and ask.  They
 * reach up to the old end until the new size is durable, and qcow2_size() says
 * so; jobs such as qcow2_convert() work on the size that the disk had when they
 * began.  Readers never wait for it.  Writers wait while the L1 table becomes
 * longer, for some barriers and no longer, also if clusters are preallocated;
 * with QCOW2_NOWAIT they get -EAGAIN meanwhile.  Creating and deleting
 * snapshots, qcow2_vmstate_read() and another qcow2_resize() wait until it is
 * done.  The target of qcow2_convert_into() must keep its size.  A smaller size
 * needs the image to itself: no other call may be running on it, as for
 * qcow2_close().
 *
 * The change is durable when the call returns.  After a crash the disk has its
 * old or its new size; if it has a new, larger one, that has been made
 * completely.
 *
 * Returns -EINVAL for a smaller size without QCOW2_RESIZE_SHRINK, preallocation
 * of a smaller disk, or a size that is no multiple of 512; -EFBIG for one that
 * needs more than 32 MiB of L1 table, or a bitmap beyond its limits; -ENOTSUP
 * for an image of version 2 with snapshots, and for bitmaps in use; -EIO for
 * damaged bitmaps; -ECANCELED when the progress function stopped it; -ENOSPC
 * and other errors of the host.  A disk that could not grow keeps its size; the
 * image may keep the space that was preallocated, until the disk grows or
 * shrinks.  One that fails while it shrinks has the new size, and clusters may
 * leak.
 */
QCOW2_API
int qcow2_resize(struct qcow2_image *img, uint64_t size,
		 const struct qcow2_resize_opts *opts,
		 struct qcow2_error *err);

/* qcow2_amend() changes these; everything else stays. */
#define QCOW2_AMEND_VERSION 0x1u
#define QCOW2_AMEND_REFCOUNT_BITS 0x2u
#define QCOW2_AMEND_LAZY_REFCOUNTS 0x4u
#define QCOW2_AMEND_SIZE 0x8u
#define QCOW2_AMEND_BACKING 0x10u /* backing_file and backing_format */
#define QCOW2_AMEND_DATA_FILE_RAW 0x20u

#define QCOW2_AMEND_SHRINK 0x1u /* the size may become smaller */

struct qcow2_amend_opts {
	size_t struct_size;
	uint32_t set;               /* QCOW2_AMEND_*: fields that count */
	uint32_t flags;             /* QCOW2_AMEND_SHRINK */
	uint32_t version;           /* 2 or 3 */
	uint32_t refcount_bits;     /* 1,2,4,...,64; version 2: only 16 */
	uint32_t lazy_refcounts;    /* 0 or 1 */
	uint32_t data_file_raw;     /* 0; or 1 if it is set already */
	uint64_t size;
	const char *backing_file;   /* recorded, not opened; NULL: none */
	const char *backing_format; /* required with backing_file */
	qcow2_progress_fn *progress;
	void *opaque;
};

#define QCOW2_AMEND_OPTS_INIT { sizeof(struct qcow2_amend_opts), 0, 0, 0, 0, \
	0, 0, 0, NULL, NULL, NULL, NULL }

/*
 * Changes properties of the image; its disk, and its snapshots' disks, read as
 * before, but for another size or backing file.  The image must be open for
 * writing (-EBADF), no other call may be running on it, as for qcow2_close(),
 * and strings that qcow2_get_info() gave are gone afterwards.  Another backing
 * file, and lazy refcounts, take effect when the image is opened anew: the
 * caller should do nothing else with it until then.
 *
 * The changes are durable when the call returns.  It makes them one after the
 * other; after a crash or a failure each of them has been made entirely or not
 * at all.
 *
 * Returns -EINVAL for contradictions; -ENOTSUP for things that version 2 has no
 * place for (external data files, extended L2 entries, zstd, bitmaps); -ERANGE
 * for a refcount that the new width cannot hold; -ENOSPC also when the first
 * cluster has no room to change the header safely; -ECANCELED when the progress
 * function stopped it; and the errors of qcow2_resize().
 */
QCOW2_API
int qcow2_amend(struct qcow2_image *img, const struct qcow2_amend_opts *opts,
		struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Compact                                                                   */

#define QCOW2_COMPACT_DRY_RUN 0x1u  /* only say what would move */
#define QCOW2_COMPACT_ZEROS 0x2u    /* clusters of zeros take no space */
/* Data is compressed if that helps, except data that a snapshot has too. */
#define QCOW2_COMPACT_COMPRESS 0x4u

struct qcow2_compact_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_COMPACT_* */
	uint32_t compress_level;    /* as in qcow2_convert_opts */
	qcow2_progress_fn *progress;
	void *opaque;
};

#define QCOW2_COMPACT_OPTS_INIT { sizeof(struct qcow2_compact_opts), 0, 0, \
				  NULL, NULL }

struct qcow2_compact_result {
	size_t struct_size;
	uint64_t clusters_total;    /* in use */
	uint64_t clusters_movable;  /* behind the place where the file could
				     * end */
	uint64_t clusters_moved;
	uint64_t clusters_zeroed;
	uint64_t clusters_compressed;
	uint64_t file_size_before;
	uint64_t file_size_after;   /* DRY_RUN: about what it would be */
	uint64_t clusters_leaked;   /* they do not move: check -r leaks first */
};

#define QCOW2_COMPACT_RESULT_INIT { sizeof(struct qcow2_compact_result), \
	0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * Makes the image file smaller without a second copy of it: clusters move from
 * its end into free space, and the host gets free space back.  The disk and its
 * snapshots read as before.  Compressed data also fills the gaps that discards
 * and rewrites left in it.  Tables and compressed data stay where they are if
 * no row of free clusters or sectors is long enough.  The image must be open
 * for writing (-EBADF), or for DRY_RUN at least for reading, and no other call
 * may be running on it, as for qcow2_close().
 *
 * The progress function (-ECANCELED), a failure or a crash may stop it
 * anywhere: the image is sound then, with leaked clusters at worst after a
 * failure or a crash, and the next call goes on.  Returns -EINVAL when the
 * image has to be repaired first (err->defect: the first thing that is wrong);
 * -ENOTSUP for compressing with an external data file; -EFBIG when refcount
 * blocks describe more than 2^34 clusters.  It takes three bits of memory for
 * each cluster that they describe.
 */
QCOW2_API
int qcow2_compact(struct qcow2_image *img,
		  const struct qcow2_compact_opts *opts,
		  struct qcow2_compact_result *result,
		  struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Check                                                                     */

/* The action taken on a finding. */
#define QCOW2_ACTION_NONE 0u     /* nothing: not asked for, or not possible */
#define QCOW2_ACTION_REPAIRED 1u /* repaired, unless the call fails */
#define QCOW2_ACTION_FAILED 2u   /* still there, though it was to be repaired */

/* One finding of the check.  It is valid only during the callback. */
struct qcow2_finding {
	int32_t defect;
	uint32_t severity;          /* QCOW2_SEVERITY_* */
	uint64_t host_off;          /* UINT64_MAX when it has none */
	const char *message;        /* escaped */
	uint32_t action;            /* QCOW2_ACTION_* */
	uint32_t reserved;
};

#define QCOW2_CHECK_NO_LOCK 0x1u /* also when others write: may see tears */
/* Repairs refcounts that are higher than references, and the COPIED flags when
 * nothing else is wrong. */
#define QCOW2_CHECK_REPAIR_LEAKS 0x2u
/* Repairs all that it can, without guessing what data was meant. */
#define QCOW2_CHECK_REPAIR_ALL 0x4u

struct qcow2_check_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_CHECK_* */
	uint32_t reserved;
	struct qcow2_budget budget;
	void (*report)(void *opaque, const struct qcow2_finding *finding);
	qcow2_progress_fn *progress;
	void *opaque;
};

#define QCOW2_CHECK_OPTS_INIT { sizeof(struct qcow2_check_opts), 0, 0, \
	QCOW2_BUDGET_INIT, NULL, NULL, NULL }

struct qcow2_check_result {
	size_t struct_size;
	uint64_t corruptions;
	uint64_t leaks;             /* leaked clusters */
	uint64_t check_errors;      /* parts that could not be checked */
	uint64_t total_clusters;    /* guest clusters of the virtual disk */
	uint64_t allocated_clusters;
	uint64_t fragmented_clusters;
	uint64_t compressed_clusters;
	uint64_t image_end_off;     /* past the last cluster in use */
	uint64_t leaks_fixed;       /* by the repair of this call */
	uint64_t corruptions_fixed;
	uint32_t unlocked;          /* 1: the host has no locks for this file,
				     * so other programs were not kept out */
	uint32_t reserved;          /* 0 */
};

#define QCOW2_CHECK_RESULT_INIT { sizeof(struct qcow2_check_result), 0, 0, 0, \
	0, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * Checks the consistency of a qcow2 image without changing it: it rebuilds the
 * refcounts from every reference, compares them, and checks every table against
 * the rules of the format.  Each finding goes to opts->report.  Returns 0 when
 * the check ran to its end, whatever it found; -EINVAL etc. when the image
 * cannot be opened at all.  Time is proportional to the metadata that exists;
 * memory to the clusters of the image file: 4 bytes for each cluster in use,
 * and at most what opts->budget allows.  If there is much to read, a thread
 * reads ahead while this one looks.
 *
 * With QCOW2_CHECK_REPAIR_* it repairs what it found, and checks the image
 * again: the result tells what is left, and leaks_fixed and corruptions_fixed
 * count what was repaired.  It reports a finding once: when it is repaired, or
 * when it is left.  The image must not be open elsewhere, nor in this program
 * (-EBUSY): the call takes a write lock, and refuses QCOW2_CHECK_NO_LOCK with
 * -EINVAL.  A repair that is interrupted, or fails, leaves the image as it was
 * or better, and another one continues it.  The dirty and the corrupt bit go
 * last, when nothing but leaks is left.  Repairing makes the file longer by no
 * more than new refcounts, one copy of each cluster that serves as data and as
 * something else, and a new snapshot table.
 */
QCOW2_API
int qcow2_check_path(const char *path, const struct qcow2_check_opts *opts,
		     struct qcow2_check_result *result,
		     struct qcow2_error *err);
QCOW2_API
int qcow2_check_store(struct qcow2_store *store,
		      const struct qcow2_check_opts *opts,
		      struct qcow2_check_result *result,
		      struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Dump                                                                      */

enum qcow2_dump_what {
	QCOW2_DUMP_HEADER = 0,    /* and its extensions, and the places of all
				   * else */
	QCOW2_DUMP_L1 = 1,
	QCOW2_DUMP_L2 = 2,        /* the table of one entry of the L1 table */
	QCOW2_DUMP_REFCOUNTS = 3, /* the table, and its blocks */
	QCOW2_DUMP_SNAPSHOTS = 4,
	QCOW2_DUMP_BITMAPS = 5,   /* the directory */
	QCOW2_DUMP_ENTRY = 6,     /* all that leads from a guest offset to its
				   * refcount */
};

/* How the value of a field is best shown to people. */
enum qcow2_dump_type {
	QCOW2_DUMP_NUMBER = 0,    /* value, in decimal */
	QCOW2_DUMP_HEX = 1,       /* value, in hexadecimal: offsets, bits */
	QCOW2_DUMP_FLAG = 2,      /* value is 0 or 1 */
	QCOW2_DUMP_TEXT = 3,      /* text */
};

struct qcow2_dump_field {
	const char *name;         /* static: lower case and '-' or '_' */
	const char *text;         /* for QCOW2_DUMP_TEXT, escaped; else NULL */
	uint64_t value;           /* for the other types; else 0 */
	uint32_t type;            /* QCOW2_DUMP_NUMBER, _HEX, _FLAG, _TEXT */
	uint32_t reserved[3];     /* 0 */
};

/*
 * One thing in the metadata: a field of the header, an entry of a table, or a
 * row of equal entries, which have a field "count".  All fields of a record
 * have different names; their set depends on the kind and on what is there.
 * Later versions add fields and kinds.  A record is valid only during the
 * callback.
 */
struct qcow2_dump_record {
	const char *kind;         /* static, such as "l1-entry" */
	uint64_t host_off;        /* its place; UINT64_MAX: nowhere */
	const struct qcow2_dump_field *fields;
	const int32_t *defects;   /* the rules that it breaks, in itself */
	uint32_t n_fields;
	uint32_t n_defects;
	uint32_t reserved[4];     /* 0 */
};

#define QCOW2_DUMP_NO_LOCK 0x1u /* also when others write: may see tears */

struct qcow2_dump_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_DUMP_NO_LOCK */
	uint32_t what;              /* QCOW2_DUMP_HEADER to _ENTRY */
	/* For L2 the number of the L1 entry; for L1 and REFCOUNTS the first
	 * entry of the table to report.  Else 0. */
	uint64_t index;
	uint64_t offset;            /* for ENTRY: guest offset, below 2^63 */
	/* For L1, L2 and ENTRY: id or name of the snapshot whose L1 table is
	 * taken.  NULL: the active one. */
	const char *snapshot;
	/* Called for each record, in order.  It returns 0 to go on; anything
	 * else stops the dump with -ECANCELED. */
	int (*report)(void *opaque, const struct qcow2_dump_record *record);
	void *opaque;
};

#define QCOW2_DUMP_OPTS_INIT { sizeof(struct qcow2_dump_opts), 0, \
	QCOW2_DUMP_HEADER, 0, 0, NULL, NULL, NULL }

/*
 * Reports the metadata of a qcow2 image, however damaged it is, for bug
 * reports.  It reads only what the caller asks for, besides the first cluster
 * and, for a snapshot, the snapshot table.  It opens nothing that the image
 * names, changes nothing, and reports no key, salt, digest or guest data.
 *
 * It reports things that break a rule of the format all the same, with the
 * rule.  It judges each by itself, not against the rest of the image as
 * qcow2_check_store() does (but QCOW2_DUMP_ENTRY holds COPIED flags against
 * refcounts).  A dump of anything but the header begins with the fields of the
 * header that break a rule.  A record of the kind "unread" stands for what
 * cannot be read: entries past the end of the file, and tables that are longer
 * than the format's limits.
 *
 * It takes about 2.5 MiB of memory.  One dump reports up to 2^22 records, and
 * reads up to 2^28 bytes or entries of tables; then it fails with -E2BIG
 * (QCOW2_REASON_BUDGET), after it reported what came before, and with index
 * another one can go on.  It holds the store for reading as long as it runs and
 * waits for the store only; any number may run at the same time.
 *
 * Returns 0 when it reported everything; -EINVAL for options that make no
 * sense, and, except for the header, when the file is shorter than a header or
 * cluster_bits is out of range (err->defect); -ENOENT when there is no such
 * snapshot; -EBUSY when somebody writes to the image; -ENOMEM; -ECANCELED; and
 * the errors of the store.
 */
QCOW2_API
int qcow2_dump_store(struct qcow2_store *store,
		     const struct qcow2_dump_opts *opts,
		     struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* Whole-disk jobs                                                           */

#define QCOW2_COMPARE_STRICT 0x1u /* sizes and allocation must agree too */

enum qcow2_difference {
	QCOW2_IDENTICAL = 0,
	QCOW2_DIFFERENT_CONTENT = 1,    /* at offset */
	QCOW2_DIFFERENT_SIZE = 2,       /* strict only */
	QCOW2_DIFFERENT_ALLOCATION = 3, /* strict only; at offset */
};

struct qcow2_compare_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_COMPARE_* */
	uint32_t n_threads;         /* at most; those beyond one per processor
				     * work while others wait for a device.
				     * 0: one per processor */
	qcow2_progress_fn *progress;
	void *opaque;
};

#define QCOW2_COMPARE_OPTS_INIT { sizeof(struct qcow2_compare_opts), 0, 0, \
				  NULL, NULL }

struct qcow2_compare_result {
	size_t struct_size;
	uint32_t difference;        /* QCOW2_IDENTICAL or _DIFFERENT_* */
	uint32_t sizes_differ;      /* also when the contents are identical */
	uint64_t offset;            /* guest offset of the first difference */
	uint32_t failed_image;      /* 1 or 2 when reading that one failed */
	uint32_t reserved;
};

#define QCOW2_COMPARE_RESULT_INIT { sizeof(struct qcow2_compare_result), \
	QCOW2_IDENTICAL, 0, 0, 0, 0 }

/*
 * Compares what two disks read as.  If one is longer, its rest must read as
 * zeros.  Returns 0 and the answer in *result, or the error of a failed read.
 */
QCOW2_API
int qcow2_compare(struct qcow2_image *a, struct qcow2_image *b,
		  const struct qcow2_compare_opts *opts,
		  struct qcow2_compare_result *result,
		  struct qcow2_error *err);

#define QCOW2_CONVERT_NO_SYNC 0x1u /* do not flush before publishing */
#define QCOW2_CONVERT_NO_REFLINK 0x2u /* never share or offload, always copy */
#define QCOW2_CONVERT_DIRECT 0x4u /* O_DIRECT on the target */
#define QCOW2_CONVERT_COMPRESS 0x8u /* compressed clusters; to qcow2 only */
/* qcow2_convert_into() only: the target reads as zeros, so none need be
 * written.  Refused for targets with a backing file. */
#define QCOW2_CONVERT_TARGET_IS_ZERO 0x10u
/* For functions that take a path; see struct qcow2_placement. */
#define QCOW2_CONVERT_IN_PLACE 0x20u
#define QCOW2_CONVERT_REPLACE 0x40u
#define QCOW2_CONVERT_EXCL 0x80u /* -EEXIST if there is a file already */

struct qcow2_convert_opts {
	size_t struct_size;
	uint32_t flags;             /* QCOW2_CONVERT_* */
	uint32_t n_threads;         /* at most; those beyond one per processor
				     * work while others wait for a device.
				     * 0: one per processor */
	/* Runs of zeros at least this long become holes: a multiple of 512 up
	 * to 16 MiB.  Default 4096.  QCOW2_CONVERT_NOT_SPARSE writes it all. */
	uint64_t sparse_bytes;
	qcow2_progress_fn *progress;
	void *opaque;
	/* To qcow2 only: the image that the target's backing_file names, opened
	 * by the caller (for reading, with its own backing chain).  NULL when
	 * there is none, or when qcow2_convert_into() must write all. */
	struct qcow2_image *backing;
	uint32_t compress_level;    /* zlib 1 to 9 or QCOW2_LEVEL_FAST(), zstd
				     * 1 to 19; 0: usual, zlib 6, zstd 3 */
	uint32_t preallocation;     /* QCOW2_PREALLOC_*: for raw targets OFF,
				     * FALLOC or FULL; for others OFF, since
				     * qcow2_create_opts says it */
	uint64_t bytes_per_sec;     /* the limit; 0: as fast as it goes */
	/* Receives how the target was placed, for functions that take a path.
	 * NULL: not asked. */
	struct qcow2_placement *placement;
};

#define QCOW2_CONVERT_NOT_SPARSE UINT64_MAX

/*
 * The fast levels of zlib's format, 1 to 3, each a little slower and better
 * than the one before: several times as fast as zlib's level 1.  Every reader
 * of zlib clusters reads them.  A library that was built without ISA-L returns
 * -ENOTSUP.  At these levels the bytes of a cluster may differ from one time to
 * the next; what they read as never does.
 */
#define QCOW2_LEVEL_FAST(n) (0x100u + (n))

#define QCOW2_CONVERT_OPTS_INIT { sizeof(struct qcow2_convert_opts), 0, 0, 0, \
				  NULL, NULL, NULL, 0, 0, 0, NULL }

/*
 * Writes what `img` reads as to a raw file or block device at `path`; struct
 * qcow2_placement says how, and what becomes of it on a failure (-ENOSPC, -EIO,
 * cancel).  Returns -EINVAL when `img` reads from that very file.  A block
 * device must be large enough (-ENOSPC).  It uses up to n_threads threads while
 * it runs and at most 64 MiB + 8 MiB per thread of memory besides the image's
 * own caches.
 */
QCOW2_API
int qcow2_convert_raw(struct qcow2_image *img, const char *path,
		      const struct qcow2_convert_opts *opts,
		      struct qcow2_error *err);

/* Does the same into a store, which it truncates to the disk's size first.
 * Returns -EBUSY when another program, or another user of the store, is in the
 * way: `img` itself is one if it reads from that store. */
QCOW2_API
int qcow2_convert_raw_store(struct qcow2_image *img, struct qcow2_store *target,
			    const struct qcow2_convert_opts *opts,
			    struct qcow2_error *err);

/*
 * Writes what `img` reads as into a new qcow2 image at `path`, made with
 * `create` (NULL: the defaults; virtual_size 0: the size of `img`).  It leaves
 * out areas that read as zeros, and over opts->backing also those that `img`
 * itself takes from that very file.  The same image and options give the same
 * bytes whatever n_threads is.  The target is placed as by qcow2_convert_raw(),
 * and its data file, if any, before it.  Returns -EINVAL when `create` names a
 * backing file and opts->backing is NULL, or the other way round, when
 * virtual_size is smaller than `img`, or when `img` or opts->backing reads from
 * a file that is to be made.  If the host can, blocks of plain clusters are
 * shared with the target instead of copied.  Memory is bounded as for
 * qcow2_convert_raw(); compression has its state besides, the most with zstd:
 * up to 40 MiB a thread for clusters of 2 MiB at level 19.
 */
QCOW2_API
int qcow2_convert(struct qcow2_image *img, const char *path,
		  const struct qcow2_convert_opts *opts,
		  const struct qcow2_create_opts *create,
		  struct qcow2_error *err);

/*
 * Writes what `img` reads as over the beginning of `target`, an image of either
 * format that is open for writing and at least as large (-ENOSPC).  It writes
 * zeros too, as by qcow2_zero() with QCOW2_ZERO_MAY_UNMAP, unless the target is
 * known to be zero; the rest behind stays. opts->backing must be the target's
 * backing file; the target then keeps what it has in areas that `img` takes
 * from that very file.  The call flushes at the end unless
 * QCOW2_CONVERT_NO_SYNC says otherwise.
 *
 * Nothing is atomic here: when the call fails, or the system does, part of the
 * target has been written.  The call refuses QCOW2_CONVERT_DIRECT with -EINVAL:
 * an open image has decided that already.
 */
QCOW2_API
int qcow2_convert_into(struct qcow2_image *img, struct qcow2_image *target,
		       const struct qcow2_convert_opts *opts,
		       struct qcow2_error *err);

/*
 * Makes a read-only disk that reads as the `n` disks in `imgs`, one after the
 * other; each begins at a multiple of 512, with zeros before it if the one
 * before has another size.  The disks stay the caller's, which must keep them
 * open until it has closed the new one.  Returns -EFBIG when they are too large
 * together.
 */
QCOW2_API
int qcow2_concat(struct qcow2_image *const *imgs, uint32_t n,
		 struct qcow2_image **out, struct qcow2_error *err);

/* ------------------------------------------------------------------------- */
/* For other languages                                                       */

/*
 * These do the same as the _INIT macros, for languages that do not reach them:
 * each fills the structure, of which the caller knows `size` bytes, with the
 * defaults, and sets its struct_size.  If `size` is too small for struct_size,
 * it changes nothing.
 */
QCOW2_API
void qcow2_open_opts_init(struct qcow2_open_opts *s, size_t size);
QCOW2_API
void qcow2_store_ops_init(struct qcow2_store_ops *s, size_t size);
QCOW2_API
void qcow2_gate_init(struct qcow2_gate *s, size_t size);
QCOW2_API
void qcow2_snapshot_opts_init(struct qcow2_snapshot_opts *s, size_t size);
QCOW2_API
void qcow2_create_opts_init(struct qcow2_create_opts *s, size_t size);
QCOW2_API
void qcow2_resize_opts_init(struct qcow2_resize_opts *s, size_t size);
QCOW2_API
void qcow2_amend_opts_init(struct qcow2_amend_opts *s, size_t size);
QCOW2_API
void qcow2_compact_opts_init(struct qcow2_compact_opts *s, size_t size);
QCOW2_API
void qcow2_check_opts_init(struct qcow2_check_opts *s, size_t size);
QCOW2_API
void qcow2_dump_opts_init(struct qcow2_dump_opts *s, size_t size);
QCOW2_API
void qcow2_compare_opts_init(struct qcow2_compare_opts *s, size_t size);
QCOW2_API
void qcow2_placement_init(struct qcow2_placement *s, size_t size);
QCOW2_API
void qcow2_convert_opts_init(struct qcow2_convert_opts *s, size_t size);
QCOW2_API
void qcow2_info_init(struct qcow2_info *s, size_t size);
QCOW2_API
void qcow2_snapshot_info_init(struct qcow2_snapshot_info *s, size_t size);
QCOW2_API
void qcow2_bitmap_info_init(struct qcow2_bitmap_info *s, size_t size);
QCOW2_API
void qcow2_luks_info_init(struct qcow2_luks_info *s, size_t size);
QCOW2_API
void qcow2_limits_init(struct qcow2_limits *s, size_t size);
QCOW2_API
void qcow2_stats_init(struct qcow2_stats *s, size_t size);
QCOW2_API
void qcow2_pool_opts_init(struct qcow2_pool_opts *s, size_t size);
QCOW2_API
void qcow2_queue_opts_init(struct qcow2_queue_opts *s, size_t size);
QCOW2_API
void qcow2_request_init(struct qcow2_request *s, size_t size);
QCOW2_API
void qcow2_completion_init(struct qcow2_completion *s, size_t size);
QCOW2_API
void qcow2_queue_info_init(struct qcow2_queue_info *s, size_t size);
QCOW2_API
void qcow2_usage_init(struct qcow2_usage *s, size_t size);
QCOW2_API
void qcow2_diff_extent_init(struct qcow2_diff_extent *s, size_t size);
QCOW2_API
void qcow2_compact_result_init(struct qcow2_compact_result *s, size_t size);
QCOW2_API
void qcow2_check_result_init(struct qcow2_check_result *s, size_t size);
QCOW2_API
void qcow2_compare_result_init(struct qcow2_compare_result *s, size_t size);

#ifdef __cplusplus
}
#endif

#endif
