/*
 * Every limit on a number in a qcow2 file, with its reason.
 *
 * Numbers from disk meet these before any arithmetic.  The values are those
 * that QEMU enforces, so that what it opens, we open, and what it refuses for
 * its size, we refuse.
 */
#ifndef FORMAT_LIMITS_H
#define FORMAT_LIMITS_H

#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* "QFI\xfb" */
#define HEADER_MAGIC UINT32_C(0x514649fb)

/* The specification starts at 512 bytes; QEMU stops at 2 MiB, and the offset
 * field of compressed descriptors shrinks with every further bit. */
#define CLUSTER_BITS_MIN 9
#define CLUSTER_BITS_MAX 21
/* 32 subclusters of at least 512 bytes. */
#define CLUSTER_BITS_MIN_EXTENDED_L2 14
#define CLUSTER_BITS_DEFAULT 16

#define SUBCLUSTERS_PER_CLUSTER 32

/* 1 << 6 = 64-bit refcounts. */
#define REFCOUNT_ORDER_MAX 6
#define REFCOUNT_ORDER_V2 4

/* Fixed part of the header. */
#define HEADER_LENGTH_V2 72
#define HEADER_LENGTH_V3_MIN 104
#define HEADER_LENGTH_V3 112 /* with the compression type and its padding */

/* Bits 56 and up of table entries are flags or reserved. */
#define HOST_OFF_MAX ((UINT64_C(1) << 56) - 1)

/* 32 MiB of L1 reach 2 PiB at 64 KiB clusters; more is an attack on memory. */
#define L1_TABLE_BYTES_MAX (32 * MIB)
/* Entries of L2 tables that several entries of one L1 table share, counted as
 * often as a walk over the disk meets them again; 64 that are empty count as
 * one.  Going through them takes less than a second; the map of a disk has a
 * line for each.  No writer is known that makes such images. */
#define REPEATED_STEPS_MAX (UINT64_C(1) << 22)
/* 8 MiB of refcount table describe 2 PiB at 64 KiB clusters. */
#define REFCOUNT_TABLE_BYTES_MAX (8 * MIB)

/* The most that one dump reports and reads: every entry of the largest L1 table
 * has its record, and the refcounts of 8 TiB at 64 KiB clusters are read. */
#define DUMP_RECORDS_MAX (UINT32_C(1) << 22)
#define DUMP_BYTES_MAX (UINT64_C(1) << 28)

/* In place of a file's size: it may be as long as it takes. */
#define FILE_SIZE_UNKNOWN UINT64_MAX

#define SNAPSHOTS_MAX 65536
/* An average of 1 KiB per entry is plenty for names and ids. */
#define SNAPSHOT_TABLE_BYTES_MAX (1024 * UINT64_C(65536))
#define SNAPSHOT_EXTRA_BYTES_MAX 1024
/* vm_state_size_large and disk_size: required in version 3. */
#define SNAPSHOT_EXTRA_BYTES_V3 16
#define SNAPSHOT_EXTRA_BYTES_ICOUNT 24
#define SNAPSHOT_HEADER_BYTES 40
/* QEMU keeps this much of a name and an id; it cuts longer ones. */
#define SNAPSHOT_NAME_BYTES_MAX 255
#define SNAPSHOT_ID_BYTES_MAX 127

#define BITMAPS_MAX 65535
#define BITMAP_DIRECTORY_BYTES_MAX (1024 * UINT64_C(65535))
#define BITMAP_NAME_BYTES_MAX 1023
/* From one sector to 2 GiB of disk for each bit; at most 2^27 table entries,
 * and 512 MiB of bitmap: 256 TiB of disk at 64 KiB for each bit. */
#define BITMAP_GRANULARITY_BITS_MIN 9
#define BITMAP_GRANULARITY_BITS_MAX 31
#define BITMAP_TABLE_ENTRIES_MAX UINT32_C(0x8000000)
#define BITMAP_DATA_BYTES_MAX UINT64_C(0x20000000)
#define BITMAP_DIR_ENTRY_BYTES 24
#define BITMAP_TABLE_ENTRY_BYTES 8

/* Specification: "must not be longer than 1023 bytes". */
#define BACKING_NAME_BYTES_MAX 1023
/* QEMU stores no more; format names are short. */
#define BACKING_FORMAT_BYTES_MAX 15
#define DATA_FILE_NAME_BYTES_MAX 1023
/* A 2 MiB cluster could hold 262,144 empty extensions; real ones have < 8. */
#define EXTENSIONS_MAX 1024

#define FEATURE_NAME_BYTES 46
#define FEATURE_ENTRY_BYTES 48

/* Compressed data is counted in sectors of this size, aligned to it. */
#define COMPRESSED_SECTOR_BYTES 512
#define COMPRESSED_SECTOR_MASK (~(COMPRESSED_SECTOR_BYTES - UINT64_C(1)))

#define L1_ENTRY_BYTES 8
#define L2_ENTRY_BYTES 8
#define L2_ENTRY_BYTES_EXTENDED 16
#define REFCOUNT_TABLE_ENTRY_BYTES 8

/* A disk of 2^63 bytes or more has offsets that off_t cannot hold. */
#define VIRTUAL_SIZE_MAX ((uint64_t)INT64_MAX)
#define SECTOR_BYTES 512

#define LUKS_HEADER_BYTES 592
#define LUKS_SLOTS 8
/* All writers of LUKS1 spread a key over this many stripes, so that an erased
 * key is gone; any other number is damage.  Key material of one slot is up to
 * 256,000 bytes. */
#define LUKS_STRIPES 4000
#define LUKS_KEY_BYTES_MAX 64
#define LUKS_CRYPTO_AREA_BYTES_MAX (64 * MIB)

/* QEMU's runtime defaults and floors for the metadata caches. */
#define L2_CACHE_BYTES_DEFAULT (32 * MIB)
/* Ours, for a disk that nobody writes to. */
#define L2_CACHE_BYTES_READER (64 * KIB)
#define L2_CACHE_ENTRIES_MIN 2
#define REFCOUNT_CACHE_ENTRIES_MIN 4
#define L2_SLICE_BYTES_DEFAULT 4096

/* Memory for the tables of one image, where the caller says nothing. */
#define METADATA_BYTES_DEFAULT (UINT64_C(256) << 20)
/* Images in a chain, likewise. */
#define CHAIN_DEPTH_DEFAULT 64u

#endif
