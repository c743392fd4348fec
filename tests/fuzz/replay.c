/*
 * Runs a target over the files and directories on the command line, without
 * libFuzzer: the corpus as a regression test in every build.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned n_files;

static void die(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

static void run_file(const char *path)
{
	static uint8_t buf[2 * FUZZ_INPUT_MAX];
	FILE *f = fopen(path, "rb");
	uint8_t *exact;
	size_t len;

	if (!f)
		die(path);
	len = fread(buf, 1, sizeof(buf), f);
	if (ferror(f))
		die(path);
	fclose(f);
	/* A copy of exactly this size, for the sanitizers. */
	exact = malloc(len ? len : 1);
	if (!exact)
		die(path);
	memcpy(exact, buf, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	n_files++;
}

static void run_path(const char *path)
{
	char sub[4096];
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (stat(path, &st) < 0)
		die(path);
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, entry->d_name);
		run_path(sub);
	}
	closedir(dir);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("%u inputs\n", n_files);
	return n_files ? 0 : 1;
}
