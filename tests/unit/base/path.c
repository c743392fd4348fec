#include "base/path.h"

#include <stdlib.h>

#include "support/test.h"

/* Both strings, of which the first is allocated. */
static void assert_path(char *path, const char *expected)
{
	assert_non_null(path);
	assert_string_equal(path, expected);
	free(path);
}

TEST(a_directory_ends_with_the_last_slash)
{
	assert_int_equal(path_dir_len("a"), 0);
	assert_int_equal(path_dir_len("/a"), 1);
	assert_int_equal(path_dir_len("a/b/c"), 4);
	assert_path(path_dir("a"), ".");
	assert_path(path_dir(""), ".");
	assert_path(path_dir("/a"), "/");
	assert_path(path_dir("../a/b"), "../a/");
	assert_path(path_dir("a/"), "a/");
}

TEST(names_are_seen_from_the_directory)
{
	assert_path(path_join("a", "b"), "b");
	assert_path(path_join("dir/a", "b"), "dir/b");
	assert_path(path_join("dir/a", "../b"), "dir/../b");
	assert_path(path_join("dir/a", "/b"), "/b");
	assert_path(path_join("dir/a", ""), "dir/");
	assert_path(path_join("", "b"), "b");
}
