/*
 * Says to the address sanitizer whether this process looks for leaks when it
 * ends.  For a short command that takes longer than the command: 60 of 110 ms.
 * So one process in eight looks, by its number; the suites start thousands.
 */
#include <unistd.h>

int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return getpid() % 8 != 0;
}
