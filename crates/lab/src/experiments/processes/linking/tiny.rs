//! A program without any library, made byte by byte: it says that it is there, waits for one message, and exits.
//!
//! So everybody can look at one, also without a compiler. Its file has less than a page, and two pieces of it are mapped: code
//! and data, far enough apart for pages of any size.

use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_AARCH64, EM_X86_64, ET_EXEC, EV_CURRENT, PF_R, PF_W, PF_X,
    PT_GNU_STACK, PT_LOAD,
};

/// Where its code is, as in any program that is linked to fixed addresses.
pub(super) const START: u64 = 0x40_0000;
/// The pieces that are mapped: code and data.
pub(super) const PIECES: u64 = 2;

/// The largest page that Linux has on these processors.
const LARGEST_PAGE: u64 = 64 << 10;
const EI_NIDENT: usize = 16;
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const HEADERS: u64 = HEADER + 3 * PROGRAM_HEADER;
/// Where its data are in the file, behind the code: a reply that says yes (two words of zeros), and room for a message.
const DATA: u64 = 0x180;
const HELLO: u64 = 16;
const MESSAGE: u64 = 64;
/// The address of the data; their place in the page is that in the file.
const DATA_START: u64 = START + LARGEST_PAGE + DATA;

/// The file, for a program that talks through this descriptor; `None` for processors whose instructions are not known here.
pub(super) fn file(fd: i32) -> Option<Vec<u8>> {
    let (machine, code) = if cfg!(target_arch = "x86_64") {
        (EM_X86_64, x86_64(fd))
    } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
        (EM_AARCH64, aarch64(fd))
    } else {
        return None;
    };
    Some(elf(machine, &code))
}

fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    let mut ident = [0; EI_NIDENT];
    let known = ELFMAG.into_iter().chain([ELFCLASS64, ELFDATA2LSB, EV_CURRENT]);
    ident.iter_mut().zip(known).for_each(|(slot, byte)| *slot = byte);
    put(&ident);
    for half in [ET_EXEC, machine] {
        put(&half.to_le_bytes());
    }
    put(&u32::from(EV_CURRENT).to_le_bytes());
    for word in [START + HEADERS, HEADER, 0] {
        put(&word.to_le_bytes());
    }
    put(&0u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, 3, 0, 0, 0] {
        put(&half.to_le_bytes());
    }
    let code_len = HEADERS + code.len() as u64;
    for (kind, flags, offset, addr, len, align) in [
        (PT_LOAD, PF_R | PF_X, 0, START, code_len, LARGEST_PAGE),
        (PT_LOAD, PF_R | PF_W, DATA, DATA_START, HELLO + MESSAGE, LARGEST_PAGE),
        // Its stack need not be executable.
        (PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 16),
    ] {
        put(&kind.to_le_bytes());
        put(&flags.to_le_bytes());
        for word in [offset, addr, addr, len, len, align] {
            put(&word.to_le_bytes());
        }
    }
    put(code);
    out.resize((DATA + HELLO + MESSAGE) as usize, 0);
    out
}

/// write(fd, hello, 16); read(fd, message, 64); exit_group(0).
fn x86_64(fd: i32) -> Vec<u8> {
    const WRITE: u32 = 1;
    const READ: u32 = 0;
    const EXIT_GROUP: u32 = 231;
    let mut code = Vec::new();
    let mut call = |number: u32, first: u32, second: u64, third: u64| {
        // mov eax, number; mov edi, first; mov esi, second; mov edx, third; syscall
        for (opcode, value) in [(0xb8, number), (0xbf, first), (0xbe, second as u32), (0xba, third as u32)] {
            code.push(opcode);
            code.extend_from_slice(&value.to_le_bytes());
        }
        code.extend_from_slice(&[0x0f, 0x05]);
    };
    call(WRITE, fd as u32, DATA_START, HELLO);
    call(READ, fd as u32, DATA_START + HELLO, MESSAGE);
    call(EXIT_GROUP, 0, 0, 0);
    code
}

/// The same.
fn aarch64(fd: i32) -> Vec<u8> {
    const WRITE: u32 = 64;
    const READ: u32 = 63;
    const EXIT_GROUP: u32 = 94;
    let mut code = Vec::new();
    let mut put = |instruction: u32| code.extend_from_slice(&instruction.to_le_bytes());
    let mut call = |number: u32, arguments: [u64; 3]| {
        for (register, value) in (0..).zip(arguments) {
            // movz xN, #low; movk xN, #high, lsl #16
            put(0xd280_0000 | ((value & 0xffff) as u32) << 5 | register);
            put(0xf2a0_0000 | ((value >> 16 & 0xffff) as u32) << 5 | register);
        }
        // movz x8, #number; svc #0
        put(0xd280_0008 | number << 5);
        put(0xd400_0001);
    };
    call(WRITE, [fd as u64, DATA_START, HELLO]);
    call(READ, [fd as u64, DATA_START + HELLO, MESSAGE]);
    call(EXIT_GROUP, [0, 0, 0]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Elf;
    use std::io::Write;

    /// Checks that the file is a static program of two pieces, that its code ends before its data, and that both lie at the
    /// same place of a page in the file and in memory, whatever the size of a page.
    #[test]
    fn it_is_a_static_program() {
        for (machine, code) in [(EM_X86_64, x86_64(22)), (EM_AARCH64, aarch64(22))] {
            assert!(HEADERS + code.len() as u64 <= DATA);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&elf(machine, &code)).unwrap();
            let elf = Elf::read(file).unwrap();
            assert!(elf.is_fixed && elf.interpreter.is_none() && elf.needed.is_empty());
            assert_eq!(elf.vmas(vmatlas_sys::page_size()), PIECES);
            assert!(elf.loads.iter().all(|load| load.addr % LARGEST_PAGE == load.offset % LARGEST_PAGE));
        }
    }

    /// Checks the instructions for aarch64, as an assembler writes them: `movz x0, #22`, `movk x1, #0x41, lsl #16`,
    /// `movz x8, #64`, `svc #0`.
    #[test]
    fn instructions_are_as_assembled() {
        let code = aarch64(22);
        let words: Vec<u32> = code.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!(words[0], 0xd280_02c0);
        assert_eq!(words[3], 0xf2a0_0821);
        assert_eq!(words[6..8], [0xd280_0808, 0xd400_0001]);
    }
}
