/*
 * Replaced or written in place: F04, F05 and D16 of the lists in
 * tests/regressions.md.
 */
#include "publish_rig.h"

static int begin_out(uint32_t reason)
{
	struct qcow2_error err = { 0 };
	struct publish p;

	EXPECT(publish_begin(&p, "out", &plain, &err) == 0);
	EXPECT(p.in_place == reason);
	EXPECT(store_pwrite(p.store, "new", 3, 0, 0, &err) == 0);
	EXPECT(publish_commit(&p, true, NULL, &err) == 0);
	return 0;
}

static int nothing_can_be_made(void)
{
	struct qcow2_error err = { 0 };
	struct publish p;

	EXPECT(publish_begin(&p, "none", &plain, &err) == -EACCES);
	EXPECT(strstr(err.message, "cannot create a temporary file"));
	return 0;
}

static int directory_is_the_reason(void)
{
	struct publish_opts replace = { .flags = PUBLISH_REPLACE };
	struct qcow2_error err = { 0 };
	struct publish p;

	EXPECT(publish_begin(&p, "out", &replace, &err) == -EINVAL);
	EXPECT(strstr(err.message, "out: cannot be replaced: its directory"));
	return begin_out(QCOW2_IN_PLACE_DIRECTORY);
}

/* F04 a */
TEST_WITH(a_closed_directory_is_no_obstacle, enter, leave)
{
	put("out", "old", 0666);
	ok(chmod(".", 0555));
	ok(as_somebody(1000, nothing_can_be_made));
	ok(as_somebody(1000, directory_is_the_reason));
	ok(chmod(".", 0755));
	assert_contents("out", "new");
	assert_int_equal(n_entries(), 1);
}

/* F04 d */
TEST_WITH(in_a_sticky_directory_files_of_others_stay, enter, leave)
{
	if (geteuid() != 0)
		skip();
	put("out", "old", 0666);
	ok(chown("out", 1001, 1001));
	ok(chmod(".", 01777));
	ok(as_somebody(1000, directory_is_the_reason));
	assert_contents("out", "new");
	put("out", "old", 0666);
	assert_replaced("out", 0);
}

/* F04 b */
TEST_WITH(a_mount_point_is_written_in_place, enter, leave)
{
	struct publish_opts replace = { .flags = PUBLISH_REPLACE };
	struct qcow2_error err = { 0 };
	struct publish p;

	put("real", "old", 0644);
	put("out", "", 0644);
	if (mount("real", "out", NULL, MS_BIND, NULL) < 0)
		skip();
	assert_int_equal(publish_begin(&p, "out", &replace, &err), -EINVAL);
	assert_in_place("out", QCOW2_IN_PLACE_MOUNT, 0);
	ok(umount("out"));
	assert_contents("real", "new");
	assert_contents("out", "");
}

static uint64_t twelve_mib(void *opaque)
{
	*(int *)opaque += 1;
	return 12 << 20;
}

/* F04 c */
TEST_WITH(room_for_one_of_both_is_enough, enter, leave)
{
	int n_asked = 0;
	struct publish_opts opts = { .bytes_max = 40 << 20,
				     .count = twelve_mib,
				     .opaque = &n_asked };
	static const char block[1 << 20] = "old";
	struct publish p;
	int fd;

	ok(mkdir("small", 0755));
	if (mount("none", "small", "tmpfs", 0, "size=20m") < 0)
		skip();
	ok(publish_begin(&p, "small/out", &opts, NULL));
	assert_int_equal(n_asked, 0);
	ok(publish_commit(&p, true, NULL, NULL));
	ok(publish_begin(&p, "small/out", &opts, NULL));
	assert_int_equal(p.in_place, QCOW2_IN_PLACE_NO);
	publish_abort(&p);
	fd = open("small/out", O_WRONLY);
	for (int i = 0; i < 12; i++)
		assert_int_equal(write(fd, block, sizeof(block)),
				 sizeof(block));
	close(fd);
	ok(publish_begin(&p, "small/out", &opts, NULL));
	assert_int_equal(n_asked, 1);
	assert_int_equal(p.in_place, QCOW2_IN_PLACE_ROOM);
	ok(publish_commit(&p, true, NULL, NULL));
	/* There is no room even for one. */
	opts.count = NULL;
	ok(publish_begin(&p, "small/out", &opts, NULL));
	assert_int_equal(p.in_place, QCOW2_IN_PLACE_NO);
	publish_abort(&p);
	opts.bytes_max = 4 << 20;
	ok(publish_begin(&p, "small/out", &opts, NULL));
	assert_int_equal(p.in_place, QCOW2_IN_PLACE_NO);
	publish_abort(&p);
	ok(umount("small"));
}

static int attributes_are_the_reason(void)
{
	return begin_out(QCOW2_IN_PLACE_ATTRIBUTES);
}

/* F05: 107:3000 660 would become 1000:3000, or lose the group. */
TEST_WITH(a_file_whose_owner_cannot_be_kept_stays, enter, leave)
{
	struct stat st;

	if (geteuid() != 0)
		skip();
	put("out", "old", 0660);
	ok(chown("out", 107, 1000));
	ok(chmod(".", 0777));
	ok(as_somebody(1000, attributes_are_the_reason));
	assert_contents("out", "new");
	ok(stat("out", &st));
	assert_int_equal(st.st_uid, 107);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(n_entries(), 1);
}

TEST_WITH(extended_attributes_are_kept, enter, leave)
{
	char value[8] = "";

	put("out", "old", 0644);
	if (setxattr("out", "user.disk", "vda", 3, 0) < 0)
		skip();
	assert_replaced("out", 0);
	assert_int_equal(getxattr("out", "user.disk", value, 8), 3);
	assert_string_equal(value, "vda");
}

/* As setfacl writes it: u::writer-, u:UID:writer-, g::r--, m::writer-,
 * o::---. */
static const uint8_t acl[] = {
	2,    0,    0,    0,    0x01, 0,    6,    0,    0xff, 0xff, 0xff,
	0xff, 0x02, 0,    6,    0,    107,  0,    0,    0,    0x04, 0,
	4,    0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,    6,    0,    0xff,
	0xff, 0xff, 0xff, 0x20, 0,    0,    0,    0xff, 0xff, 0xff, 0xff,
};

TEST_WITH(access_lists_are_kept_and_none_is_added, enter, leave)
{
	static const char name[] = "system.posix_acl_access";
	uint8_t value[100];

	put("out", "old", 0640);
	put("bare", "old", 0640);
	if (setxattr("out", name, acl, sizeof(acl), 0) < 0)
		skip();
	ok(setxattr(".", "system.posix_acl_default", acl, sizeof(acl), 0));
	assert_replaced("out", 0);
	assert_int_equal(getxattr("out", name, value, 100), sizeof(acl));
	assert_memory_equal(value, acl, sizeof(acl));
	assert_replaced("bare", 0);
	assert_int_equal(getxattr("bare", name, value, 100), -1);
	assert_int_equal(mode_of("bare"), 0640);
}

TEST_WITH(a_file_with_two_names_is_written_under_both, enter, leave)
{
	put("out", "old", 0644);
	ok(link("out", "other"));
	assert_in_place("out", QCOW2_IN_PLACE_LINKS, 0);
	assert_contents("other", "new");
	put("out", "old", 0644);
	assert_replaced("out", PUBLISH_REPLACE);
	assert_contents("other", "old");
}

TEST_WITH(in_place_may_be_asked_for, enter, leave)
{
	struct publish p;

	put("out", "old", 0644);
	assert_in_place("out", QCOW2_IN_PLACE_ASKED, PUBLISH_IN_PLACE);
	begin_with(&p, "new", PUBLISH_IN_PLACE);
	assert_int_equal(p.in_place, QCOW2_IN_PLACE_NO);
	ok(publish_commit(&p, true, NULL, NULL));
}

TEST_WITH(the_caller_is_told_before_the_work, enter, leave)
{
	struct qcow2_placement where = QCOW2_PLACEMENT_INIT;
	struct publish_opts opts = { .placement = &where };
	struct publish p;

	ok(publish_begin(&p, "out", &opts, NULL));
	assert_int_equal(where.how, QCOW2_PLACED_NEW);
	ok(publish_commit(&p, true, NULL, NULL));
	ok(publish_begin(&p, "out", &opts, NULL));
	assert_int_equal(where.how, QCOW2_PLACED_REPLACED);
	assert_int_equal(where.reason, QCOW2_IN_PLACE_NO);
	publish_abort(&p);
	opts.flags = PUBLISH_IN_PLACE;
	ok(publish_begin(&p, "out", &opts, NULL));
	assert_int_equal(where.how, QCOW2_PLACED_IN_PLACE);
	assert_int_equal(where.reason, QCOW2_IN_PLACE_ASKED);
	publish_abort(&p);
}

/* D16 */
TEST_WITH(what_must_be_new_replaces_nothing, enter, leave)
{
	struct publish_opts opts = { .flags = PUBLISH_EXCL };
	struct qcow2_error err = { 0 };
	struct publish p;

	put("out", "old", 0644);
	assert_int_equal(publish_begin(&p, "out", &opts, &err), -EEXIST);
	assert_string_equal(err.message, "out: exists already");
	ok(publish_begin(&p, "new", &opts, &err));
	put("new", "first", 0644);
	assert_int_equal(publish_commit(&p, true, NULL, &err), -EEXIST);
	assert_contents("new", "first");
	assert_int_equal(n_entries(), 2);
}
