#!/bin/sh
# Every deliberate mistake can be made in src/ as it is; a mistake whose text is
# gone, or in two places, is refused by its name.
#
#	mutants.sh MUTATE ROOT TABLE
set -eu

mutate=$1
root=$2
table=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$mutate" "$root" "$dir" "$table"

mkdir -p "$dir/src"
cat >"$dir/src/a.c" <<'END'
int one(int a)
{
	int b = a +
		1;

	return b;
}

int two(int b)
{
	return b;
}
END

# A table of the one mistake on stdin.
make_table() {
	echo 'wrong: a mistake'
	echo 'in random'
	echo '@ src/a.c'
	cat
}

refuse() {
	make_table >"$dir/table"
	if "$mutate" "$dir" "$dir" "$dir/table" 2>"$dir/said" ||
		! grep -qF "wrong: src/a.c has its old text $1" "$dir/said"; then
		echo "not refused as '$1': $(cat "$dir/said")"
		exit 1
	fi
}

refuse '0 times' <<'END'
-	return c;
END
refuse '2 times' <<'END'
-	return b;
END
refuse '1 times' <<'END'
-int two(int b)
END
make_table >"$dir/table" <<'END'
-	int b = a + 1;
+	int b = a + 2;

 	return b;
END
"$mutate" "$dir" "$dir" "$dir/table"
{
	cat "$dir/src_a.c"
	cat <<'END'
int main(void)
{
	return one(1);
}
END
} >"$dir/main.c"
for case in none:2 wrong:3; do
	result=0
	${CC:-cc} -I "$root/tests" -o "$dir/main" "$dir/main.c"
	QCOW2_MUTANT=${case%:*} "$dir/main" || result=$?
	[ "$result" -eq "${case#*:}" ] || {
		echo "with mistake ${case%:*}: $result"
		exit 1
	}
done
