//! The shell scripts that run inside. Nothing from outside is pasted into them: it comes as arguments.
//!
//! They keep to what POSIX has, as an image's shell may be busybox, dash or bash. `$0` is always a word that nobody inside
//! could know before, and what they report begins with it.

/// The main process: says that it is there, and ends with its input. What ends all processes must not end this one first.
pub(crate) const MAIN: &str = "\
trap '' HUP INT TERM
printf '%s ready %s\\n' \"$0\" \"$$\"
exec cat >/dev/null";

/// A command: reports its process on stderr (with a terminal there is but one stream), and becomes what follows. Where it
/// cannot, it says whether there is no such program or no permission.
pub(crate) const BEGIN: &str = "\
tell() { printf '%s %s\\n' \"$nonce\" \"$1\" >&2; }
nonce=$0 found=
case $1 in
*/*) found=$1 ;;
*)
  set -f; IFS=:
  for place in $PATH; do
    [ -f \"${place:-.}/$1\" ] || continue
    found=${place:-.}/$1
    [ -x \"$found\" ] && break
  done
  unset IFS; set +f ;;
esac
if [ -z \"$found\" ] || [ ! -e \"$found\" ]; then tell missing; exit 127; fi
if [ -d \"$found\" ] || [ ! -x \"$found\" ]; then tell refused; exit 126; fi
tell \"$$\"
unset nonce found place
exec \"$@\"";

/// Sends the signal `$2` to the process `$1`, with `$3` = tty to the terminal's foreground processes as well.
pub(crate) const SIGNAL: &str = "\
process=$1 signal=$2 how=$3
if [ \"$how\" = tty ] && IFS= read -r line <\"/proc/$process/stat\"; then
  set -- ${line##*) }
  [ \"${6:-0}\" -gt 1 ] && kill -s \"$signal\" -- \"-$6\"
  [ \"$3\" = \"$6\" ] && exit 0
fi
kill -s \"$signal\" \"$process\"";

/// Tells everything but `$1` and its kind to end, and waits for at most `$2` tenths of a second until it has.
pub(crate) const END: &str = "\
main=$1 left=$2
kill -s TERM -1
while [ \"$left\" -gt 0 ]; do
  alive=
  for place in /proc/[0-9]*; do
    process=${place#/proc/}
    case $process in 1|\"$main\"|\"$$\") continue ;; esac
    IFS= read -r line <\"$place/stat\" || continue
    set -- ${line##*) }
    [ \"$1\" = Z ] || [ \"$2\" = \"$$\" ] || alive=yes
  done 2>/dev/null
  [ -z \"$alive\" ] && exit 0
  sleep 0.1 2>/dev/null || { sleep 1; left=$((left - 9)); }
  left=$((left - 1))
done
exit 0";

/// Ends when the container does.
pub(crate) const WATCH: &str = "printf '%s ready %s\\n' \"$0\" \"$$\"; exec cat >/dev/null";

/// How the scripts below say that nothing is there, and that it is of another kind.
pub(crate) const MISSING: i32 = 44;
pub(crate) const OTHER_KIND: i32 = 45;
pub(crate) const FORBIDDEN: i32 = 46;
/// How they say that the image's tar cannot leave out what is mounted there.
pub(crate) const MOUNTED: i32 = 47;

pub(crate) const READ: &str = "\
[ -e \"$1\" ] || exit 44
[ -f \"$1\" ] || exit 45
exec cat <\"$1\"";

/// `$2` is the mode of a new file. Whether a file can be written is tried: on a read-only root, modes say nothing.
pub(crate) const WRITE: &str = "\
parent=${1%/*} new=
[ -d \"${parent:-/}\" ] || exit 44
[ -e \"$1\" ] || new=yes
[ -n \"$new\" ] || [ -f \"$1\" ] || exit 45
umask 077
( : >>\"$1\" ) 2>/dev/null || exit 46
cat >\"$1\" && { [ -z \"$new\" ] || chmod \"$2\" \"$1\"; }";

/// New content of `$1` into the name `$2` beside what it leads to; says where that is. Nothing has changed for readers yet.
pub(crate) const STORE: &str = "\
path=$1 left=40
while [ -h \"$path\" ] && [ \"$left\" -gt 0 ]; do
  to=$(readlink \"$path\"; printf x) || exit 127
  to=${to%x}; to=${to%?}
  case $to in /*) path=$to ;; *) path=${path%/*}/$to ;; esac
  left=$((left - 1))
done
[ -h \"$path\" ] && exit 45
parent=${path%/*}
mkdir -p \"${parent:-/}\" 2>/dev/null || { [ -d \"${parent:-/}\" ] || exit 44; exit 46; }
if [ -e \"$path\" ]; then
  [ -f \"$path\" ] || exit 45
  ( : >>\"$path\" ) 2>/dev/null || exit 46
fi
umask 077
( : >\"$parent/$2\" ) 2>/dev/null || exit 46
cat >\"$parent/$2\" || { rm -f \"$parent/$2\"; exit 1; }
printf %s \"$path\"";

/// The content `$2` beside it takes the place of `$1`; `$3` is the mode of a new file.
pub(crate) const KEEP: &str = "\
new=${1%/*}/$2
if [ -f \"$1\" ]; then
  mode=$(stat -c %a \"$1\") && owner=$(stat -c %u:%g \"$1\") || { rm -f \"$new\"; exit 127; }
else
  mode=$3 owner=$(stat -c %u:%g \"${1%/*}/.\") || { rm -f \"$new\"; exit 127; }
fi
chown \"$owner\" \"$new\" && chmod \"$mode\" \"$new\" && mv -f \"$new\" \"$1\" && exit 0
rm -f \"$new\"; exit 46";

/// Forgets the content `$2` beside `$1`.
pub(crate) const FORGET: &str = "rm -f \"${1%/*}/$2\"";

pub(crate) const REMOVE: &str = "\
[ -h \"$1\" ] || [ -e \"$1\" ] || exit 44
[ ! -h \"$1\" ] && [ -d \"$1\" ] && exit 45
rm -f \"$1\" 2>/dev/null || exit 46";

/// At most `$2` entries of the directory `$1`, each as three texts that end with NUL: name, what stat(1) has, and where it
/// leads.
pub(crate) const LIST: &str = "\
[ -e \"$1\" ] || exit 44
[ -d \"$1\" ] || exit 45
cd \"$1\" 2>/dev/null || exit 46
left=$2
for name in * .[!.]* ..?*; do
  [ -e \"$name\" ] || [ -h \"$name\" ] || continue
  [ \"$left\" -gt 0 ] || break
  left=$((left - 1))
  facts=$(stat -c '%f %s %Y' \"./$name\") || continue
  to=
  [ -h \"$name\" ] && to=$(readlink \"./$name\")
  printf '%s\\0%s\\0%s\\0' \"$name\" \"$facts\" \"$to\"
done";

pub(crate) const KIND: &str = "\
if [ -f \"$1\" ]; then echo file
elif [ -d \"$1\" ]; then echo directory
elif [ -e \"$1\" ] || [ -h \"$1\" ]; then echo other
else echo none
fi";

/// `$1` is the directory, `$2` the name in it. What is mounted below is left out; where tar cannot do that, nothing is
/// packed.
pub(crate) const PACK: &str = "\
cd \"$1\" 2>/dev/null || exit 44
[ -e \"$2\" ] || [ -h \"$2\" ] || exit 44
command -v tar >/dev/null || exit 127
if tar --one-file-system -cf /dev/null /dev/null 2>/dev/null; then
  exec tar --one-file-system -cf - \"./$2\"
fi
top=${1%/}/$2
while read -r device at rest; do
  case $at in \"$top\"/*) exit 47 ;; esac
done </proc/mounts
exec tar -cf - \"./$2\"";

/// `$2` is what tar is told to do.
pub(crate) const UNPACK: &str = "\
[ -e \"$1\" ] || exit 44
[ -d \"$1\" ] || exit 45
tried=${1%/}/.agentkernel.$$
mkdir \"$tried\" 2>/dev/null && rmdir \"$tried\" || exit 46
command -v tar >/dev/null || exit 127
exec tar \"$2\" - -C \"$1\"";

/// Gives `$1` and what is below it to `$2`.
pub(crate) const GIVE: &str = "exec chown -R -h \"$2\" \"$1\"";
