#!/bin/sh
# mkruntime.sh RUNTIME_DIR NODE_MODULES: a C file with the runtime's JavaScript in
# it, in the order of RUNTIME_DIR/ORDER.  A line "@PATH" there means
# NODE_MODULES/PATH; "#" begins a comment.
# mkruntime.sh -d RUNTIME_DIR NODE_MODULES: the files' names, for make.
set -eu

list=no
if [ "$1" = -d ]; then
	list=yes
	shift
fi
dir=$(cd "$1" && pwd)
modules=$2
case $modules in
/*) ;;
*) modules=$(cd "$modules" && pwd) ;;
esac

n=0
names=
[ $list = yes ] || cat <<END
/* Made by mkruntime.sh; do not edit. */
#include "config.h"

#include "wk_runtime.h"

END
while read -r line rest || [ -n "$line" ]; do
	case $line in
	''|'#'*) continue ;;
	@*) file=$modules/${line#@} ;;
	*) file=$dir/$line ;;
	esac
	[ -r "$file" ] || { echo "mkruntime.sh: cannot read $file" >&2; exit 1; }
	if [ $list = yes ]; then
		echo "$file"
		continue
	fi
	size=$(wc -c < "$file")
	cat <<END
__asm__(".section .rodata\n\t.balign 16\nwk_runtime_text_$n:\n\t.incbin \"$file\"\n\t.byte 0\n\t.previous");
extern const char wk_runtime_text_$n[] __attribute__((visibility("hidden")));
END
	names="$names	{ \"${line#@}\", wk_runtime_text_$n, $((size)) },
"
	n=$((n + 1))
done < "$dir/ORDER"
[ $list = yes ] || cat <<END

const struct wk_runtime_file wk_runtime_data[] = {
$names	{ 0, 0, 0 }
};
const size_t wk_runtime_data_count = $n;
END
