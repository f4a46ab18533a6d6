//! What a map was read from, when that was no living process.

use crate::escape;
use crate::json;
use crate::lang::Lang;
use crate::units::{count, size};
use serde_json::{Map, Value};
use std::fmt::Display;
use vmatlas_event::Bytes;

/// What a saved source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Saved maps.
    Maps,
    /// Saved smaps.
    Smaps,
    /// A copied /proc/PID folder.
    ProcFolder,
    /// A core file.
    Core,
}

impl SourceKind {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            SourceKind::Maps => "maps",
            SourceKind::Smaps => "smaps",
            SourceKind::ProcFolder => "proc-folder",
            SourceKind::Core => "core",
        }
    }
}

/// Where a map comes from that is not read from a living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// Its path, bytes of any kind.
    pub path: Vec<u8>,
    /// The name of the signal that it was dumped for.
    pub signal: Option<String>,
    /// How much of the file is there, and how much should be, when it was cut.
    pub truncated: Option<(Bytes, Bytes)>,
    /// Mappings of files that it names without having them.
    pub left_out: u64,
}

crate::texts! {
    /// A core file.
    CORE: "core file {path}", "コアファイル {path}";
    /// Saved maps.
    MAPS: "saved maps {path}", "保存された maps {path}";
    /// Saved smaps.
    SMAPS: "saved smaps {path}", "保存された smaps {path}";
    /// A copied folder.
    PROC_FOLDER: "copied /proc folder {path}", "コピーされた /proc フォルダー {path}";
    /// The signal a core was dumped for.
    SIGNAL: "dumped on {signal}", "{signal} でダンプ";
    /// A cut file.
    TRUNCATED: "truncated: {have} of {of} bytes ({have_size} of {of_size}) are there; the map is whole, its memory is not",
        "途中で切れています: {of} バイト中 {have} バイト ({of_size} 中 {have_size})。メモリマップは全部ありますが、メモリの中身は一部しかありません";
    /// Mappings that are named and not there.
    LEFT_OUT: "{n} mappings of files are named in it, but were left out (gcore does that), so some gaps are no gaps",
        "ファイルのマッピング {n} 個は名前だけで、内容は含まれていません (gcore がそうします)。未割当と表示した範囲の一部は実際にはマップされていました";
    /// Heading: bytes that a core holds.
    DUMPED: "dumped", "ダンプ済み";
}

impl Source {
    /// The lines below the title.
    pub(crate) fn lines(&self, lang: Lang) -> Vec<String> {
        let text = match self.kind {
            SourceKind::Maps => MAPS,
            SourceKind::Smaps => SMAPS,
            SourceKind::ProcFolder => PROC_FOLDER,
            SourceKind::Core => CORE,
        };
        let mut first = text.fill(lang, &[("path", &escape::terminal(&self.path))]);
        if let Some(signal) = &self.signal {
            first = format!("{first} · {}", SIGNAL.fill(lang, &[("signal", signal)]));
        }
        let mut lines = vec![first];
        if let Some((have, of)) = self.truncated {
            let values: [(&str, &dyn Display); 4] = [
                ("have", &count(have.0)),
                ("of", &count(of.0)),
                ("have_size", &size(have)),
                ("of_size", &size(of)),
            ];
            lines.push(TRUNCATED.fill(lang, &values));
        }
        if self.left_out > 0 {
            lines.push(LEFT_OUT.fill(lang, &[("n", &count(self.left_out))]));
        }
        lines
    }

    pub(crate) fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".into(), self.kind.id().into());
        json::put_name(&mut object, "path", &self.path);
        if self.kind == SourceKind::Core {
            object.insert("signal".into(), self.signal.clone().map_or(Value::Null, Into::into));
            let cut = |(have, of): (Bytes, Bytes)| serde_json::json!({ "have": have.0, "of": of.0 });
            object.insert("left_out".into(), self.left_out.into());
            object.insert("truncated".into(), self.truncated.map_or(Value::Null, cut));
        }
        Value::Object(object)
    }

    /// Whether the source tells private from shared mappings.
    pub(crate) fn knows_sharing(&self) -> bool {
        self.kind != SourceKind::Core
    }
}

/// Corrects what JSON says of one VMA by what its source knows.
pub(crate) fn adjust_vma(object: &mut Map<String, Value>, source: Option<&Source>, offset: u64) {
    if source.is_some_and(|source| !source.knows_sharing()) {
        object.insert("sharing".into(), Value::Null);
        object.insert("sharing_why".into(), "unknown".into());
        let has_path = object.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        if has_path {
            object.insert("offset".into(), offset.into());
            for key in ["dev", "inode"] {
                object.insert(key.into(), Value::Null);
                object.insert(format!("{key}_why"), "unknown".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(ALL), Vec::<String>::new());
    }

    /// Checks that a path cannot drive the terminal and that a cut file says how much is there.
    #[test]
    fn the_lines_say_what_it_is() {
        let source = Source {
            kind: SourceKind::Core,
            path: b"core.\x1b[31m".to_vec(),
            signal: Some("SIGSEGV".to_owned()),
            truncated: Some((Bytes(4096), Bytes(8192))),
            left_out: 3,
        };
        for lang in [Lang::En, Lang::Ja] {
            let lines = source.lines(lang);
            assert!(lines[0].contains("SIGSEGV") && !lines[0].contains('\x1b'), "{lines:?}");
            assert!(lines[1].contains("4,096") && lines[1].contains("8,192"), "{lines:?}");
        }
        assert_eq!(source.json()["truncated"]["of"], 8192);
    }
}
