//! What to call mmap(2) with, and what to do with the area.

use super::predict::FileKind;
use crate::child::FILE_FD;
use crate::error::LabError;
use crate::settings::{Param, Settings, Takes};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use vmatlas_event::{Addr, Bytes, MAP, MapFlags, PROT, ProtArg, parse_flags};
use vmatlas_sys::mem::MmapArgs;
use vmatlas_view::escape;

const O_NONBLOCK: i32 = 0o4000;

/// All six arguments, and how much is touched.
pub(super) const PARAMS: &[Param] = &[
    Param { name: "length", takes: Takes::Text("SIZE", |text| size(text).map(|_| ())), usual: "" },
    Param { name: "addr", takes: Takes::Text("ADDR", |text| addr(text).map(|_| ())), usual: "" },
    Param { name: "prot", takes: Takes::Text("FLAGS", |text| prot(text).map(|_| ())), usual: "" },
    Param { name: "flags", takes: Takes::Text("FLAGS", |text| flags(text).map(|_| ())), usual: "" },
    Param { name: "populate", takes: Takes::Flag, usual: "" },
    Param { name: "file", takes: Takes::Text("PATH", |_| Ok(())), usual: "" },
    Param { name: "offset", takes: Takes::Text("SIZE", |text| size(text).map(|_| ())), usual: "" },
    Param { name: "touch", takes: Takes::Text("N|all", |text| touch(text).map(|_| ())), usual: "8" },
];

fn size(text: &str) -> Result<Bytes, String> {
    vmatlas_view::units::parse_size(text).ok_or_else(|| "a size such as 4096, 64KiB or 1.5GiB".to_owned())
}

fn addr(text: &str) -> Result<Addr, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let addr = u64::from_str_radix(digits, 16).map(Addr);
    addr.map_err(|_| "a hexadecimal address such as 0x7f001000".to_owned())
}

fn prot(text: &str) -> Result<ProtArg, String> {
    parse_flags(PROT, "PROT_", text).map(ProtArg).map_err(|word| format!("{word}: no PROT_ flag"))
}

fn flags(text: &str) -> Result<MapFlags, String> {
    parse_flags(MAP, "MAP_", text).map(MapFlags).map_err(|word| format!("{word}: no MAP_ flag"))
}

fn touch(text: &str) -> Result<TouchPages, String> {
    match text {
        "all" => Ok(TouchPages::All),
        n => n.parse().map(TouchPages::Some).map_err(|_| "a number of pages, or all".to_owned()),
    }
}

/// How many pages of the new area are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TouchPages {
    /// This many, from the first on.
    Some(u64),
    /// All of them.
    All,
}

/// The arguments of mmap(2), and what to do with the area.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// How much.
    pub length: Bytes,
    /// The hint, or the place with MAP_FIXED.
    pub addr: Addr,
    /// PROT_*.
    pub prot: ProtArg,
    /// MAP_*.
    pub flags: MapFlags,
    /// The file behind it.
    pub file: Option<PathBuf>,
    /// Where in the file it begins.
    pub offset: u64,
    /// How much of it is touched.
    pub touch: TouchPages,
}

impl Default for Options {
    /// The talk's own: 1 GiB, readable and writable, private and anonymous; eight pages touched.
    fn default() -> Options {
        Options {
            length: Bytes(1 << 30),
            addr: Addr(0),
            prot: ProtArg(3),
            flags: MapFlags(0x22),
            file: None,
            offset: 0,
            touch: TouchPages::Some(8),
        }
    }
}

impl Options {
    /// What was asked for. A file is mapped whole, and read only, unless asked otherwise.
    pub(super) fn of(settings: &Settings) -> Options {
        let usual = Options::default();
        let file = settings.text("file").map(PathBuf::from);
        let given = |name| settings.text(name);
        let file_size = || std::fs::metadata(file.as_ref()?).ok().map(|m| Bytes(m.len())).filter(|n| n.0 > 0);
        let (usual_flags, usual_prot) = match file {
            Some(_) => (MapFlags(2), ProtArg(1)),
            None => (usual.flags, usual.prot),
        };
        let populate = if settings.has("populate") { MapFlags::POPULATE } else { 0 };
        let flags = given("flags").and_then(|text| flags(text).ok()).unwrap_or(usual_flags);
        let length = given("length").and_then(|text| size(text).ok()).or_else(file_size);
        Options {
            length: length.unwrap_or(usual.length),
            addr: given("addr").and_then(|text| addr(text).ok()).unwrap_or(usual.addr),
            prot: given("prot").and_then(|text| prot(text).ok()).unwrap_or(usual_prot),
            flags: MapFlags(flags.0 | populate),
            offset: given("offset").and_then(|text| size(text).ok()).map_or(0, |n| n.0),
            touch: given("touch").and_then(|text| touch(text).ok()).unwrap_or(usual.touch),
            file,
        }
    }

    /// The call as it is made: MAP_FIXED never takes away what the subject needs, so it becomes MAP_FIXED_NOREPLACE.
    pub(super) fn args(&self) -> MmapArgs {
        let mut flags = self.flags;
        if flags.has(MapFlags::FIXED) {
            flags = MapFlags(flags.0 & !MapFlags::FIXED | MapFlags::FIXED_NOREPLACE);
        }
        MmapArgs {
            addr: self.addr,
            len: self.length,
            prot: self.prot,
            flags,
            fd: if self.file.is_some() { FILE_FD } else { -1 },
            offset: self.offset,
        }
    }

    /// Opens the file for what the mapping needs, or for reading where it may not be written: mmap then says EACCES.
    pub(super) fn open(&self) -> Result<Option<(File, FileKind)>, LabError> {
        let Some(path) = &self.file else { return Ok(None) };
        let failed =
            |why| LabError::File { path: escape::terminal(path.as_os_str().as_encoded_bytes()), why };
        let writes_back = self.flags.0 & 1 == 1 && self.prot.0 & 2 == 2;
        // A pipe would keep us waiting for its other end.
        let free = File::options().read(true).custom_flags(O_NONBLOCK).clone();
        let both = match writes_back {
            true => free.clone().write(true).open(path).ok(),
            false => None,
        };
        let writable = both.is_some();
        let file = both.map_or_else(|| free.open(path), Ok).map_err(failed)?;
        let kind = FileKind::of(&file.metadata().map_err(failed)?, writable);
        Ok(Some((file, kind)))
    }
}
