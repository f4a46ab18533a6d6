//! The same experiment as a short C program, made from the very arguments.

use vmatlas_event::{FlagName, MAP, PROT, flag_names};
use vmatlas_sys::mem::MmapArgs;

/// A C program to try by hand.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its text.
    pub source: String,
}

/// `PROT_READ | PROT_WRITE` from bits; unknown ones stay numbers, and so do those that the headers of a C library may
/// be too old for.
fn names(table: &[FlagName], prefix: &str, none: &str, bits: u64) -> String {
    const NEW: [&str; 4] = ["DROPPABLE", "UNINITIALIZED", "ABOVE4G", "SEM"];
    let (found, mut rest) = flag_names(table, bits);
    let mut words: Vec<String> = Vec::new();
    for name in found {
        match table.iter().find(|flag| flag.name == name) {
            Some(flag) if NEW.contains(&name) => rest |= flag.value,
            _ => words.push(format!("{prefix}{name}")),
        }
    }
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    if words.is_empty() { none.to_owned() } else { words.join(" | ") }
}

/// A C string; what could end it or act on the compiler is written in octal.
fn c_string(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.push_str(&format!("\\{}", char::from(*byte))),
            b' '..=b'~' if *byte != b'?' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out + "\""
}

impl Program {
    /// mmap(2) with these arguments between two looks at the map, then `touch` pages written.
    pub(crate) fn mmap(args: &MmapArgs, file: Option<&[u8]>, touch: u64) -> Program {
        let prot = names(PROT, "PROT_", "PROT_NONE", args.prot.0);
        let flags = names(MAP, "MAP_", "0", args.flags.0);
        let open = match file {
            Some(path) => {
                // Shared and writable needs a descriptor for both.
                let mode = if args.flags.0 & 1 == 1 && args.prot.0 & 2 == 2 { "O_RDWR" } else { "O_RDONLY" };
                format!(
                    "    int fd = open({}, {mode});\n    if (fd < 0) {{ perror(\"open\"); return 1; }}\n",
                    c_string(path)
                )
            }
            None => String::new(),
        };
        let fd = if file.is_some() { "fd".to_owned() } else { args.fd.to_string() };
        let addr = if args.addr.0 == 0 { "NULL".to_owned() } else { format!("(void *){:#x}UL", args.addr.0) };
        let touching = match touch {
            0 => String::new(),
            n => format!(
                "    for (size_t i = 0; i < {n}; i++)\n        ((volatile char *)p)[i * sysconf(_SC_PAGESIZE)] = 1;\n    \
                 puts(\"--- touched {n} pages: look at Rss in /proc/self/smaps_rollup\");\n    look(\"/proc/self/smaps_rollup\");\n"
            ),
        };
        let source = format!(
            "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <stdio.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\n\
             static void look(const char *path) {{\n    char line[4096];\n    FILE *f = fopen(path, \"r\");\n    \
             while (f && fgets(line, sizeof line, f)) fputs(line, stdout);\n    if (f) fclose(f);\n}}\n\n\
             int main(void) {{\n{open}    puts(\"--- before\");\n    look(\"/proc/self/maps\");\n    \
             void *p = mmap({addr}, {len}UL, {prot},\n                   {flags},\n                   {fd}, {offset}L);\n    \
             if (p == MAP_FAILED) {{ perror(\"mmap\"); return 1; }}\n    \
             printf(\"--- mmap gave %p\\n\", p);\n    look(\"/proc/self/maps\");\n{touching}    return 0;\n}}\n",
            len = args.len.0,
            offset = args.offset,
        );
        Program { source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Bytes, MapFlags, ProtArg};

    /// Checks that arguments are written as C has them, and that a hostile path stays a string.
    #[test]
    fn arguments_are_written_as_c() {
        let args = MmapArgs {
            addr: Addr(0),
            len: Bytes(1 << 30),
            prot: ProtArg(3),
            flags: MapFlags(0x22),
            fd: -1,
            offset: 0,
        };
        // However the lines are broken.
        let flat = |program: Program| program.source.split_whitespace().collect::<Vec<_>>().join(" ");
        let source = flat(Program::mmap(&args, None, 8));
        assert!(source.contains(
            "mmap(NULL, 1073741824UL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L)"
        ));
        let args = MmapArgs { prot: ProtArg(0), flags: MapFlags(2 | 1 << 40), ..args };
        let source = flat(Program::mmap(&args, Some(b"/tmp/a\"\n??/"), 0));
        assert!(source.contains("open(\"/tmp/a\\\"\\012\\077\\077/\", O_RDONLY)"), "{source}");
        assert!(source.contains("PROT_NONE, MAP_PRIVATE | 0x10000000000"), "{source}");
        let args = MmapArgs { prot: ProtArg(9), flags: MapFlags(0x68), ..args };
        let source = flat(Program::mmap(&args, None, 0));
        assert!(source.contains("PROT_READ | 0x8, MAP_ANONYMOUS | MAP_32BIT | 0x8,"), "{source}");
    }
}
