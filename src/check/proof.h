/*
 * The proof that refcounts can be relied on: no cluster has fewer than
 * references (O39).
 *
 * It is the check, without the parts that only people want to know, made before
 * clusters that refcounts call free are used.
 */
#ifndef CHECK_PROOF_H
#define CHECK_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

/* @n clusters from @first on have @count references and fewer refcounts. */
struct proof_low {
	uint64_t first;
	uint64_t n;
	uint64_t count;
};

struct proof_findings {
	struct proof_low *low; /* the caller frees it */
	size_t n_low;
	size_t capacity;
	/* COPIED flags may stand where there are several references. */
	bool wrong_flags;
	/* A rule is broken that leaves no doubt and that refcounts cannot put
	 * right: the image is corrupt.  Else what could not be looked at. */
	bool corrupt;
	/* A cluster has more references than a refcount can say. */
	bool too_narrow;
};

/*
 * Goes through all metadata of @file, which nobody changes meanwhile.  The
 * calling thread does all of it; the memory is that of a check, within
 * budget->metadata_bytes.  @with_bitmaps: persistent bitmaps count also when
 * their bit is clear, since the caller has just cleared it.
 *
 * 0: refcounts are right once those in @out are raised.  Else @err says why
 * they cannot be proved, and @out which kind of reason it is.
 */
int check_prove(struct qcow2_store *file, const struct qcow2_budget *budget,
		bool with_bitmaps, struct proof_findings *out,
		struct qcow2_error *err);

#endif
