//! What a map was read from, when that was no living process.

use crate::escape;
use crate::json;
use crate::lang::Lang;
use crate::looks::AtLook;
use crate::units::{count, seconds, size};
use serde_json::{Map, Value};
use std::fmt::Display;
use vmatlas_event::{Bytes, MmId, MonoNs, Seq};

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
    /// A recording, at a moment.
    Recording,
}

impl SourceKind {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            SourceKind::Maps => "maps",
            SourceKind::Smaps => "smaps",
            SourceKind::ProcFolder => "proc-folder",
            SourceKind::Core => "core",
            SourceKind::Recording => "recording",
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
    /// The moment of a recording.
    pub moment: Option<Moment>,
}

/// Where in a recording a map is from, and how far that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The last event that has happened; `None` before the first.
    pub seq: Option<Seq>,
    /// How long after the first event was entered.
    pub since_start: MonoNs,
    /// Which address space of the recording it is.
    pub mm: MmId,
    /// Whether the recording was ended.
    pub ended: bool,
    /// Whether its writer is at work; where it is not, and the recording was not ended, it was killed.
    pub being_recorded: bool,
    /// What of it is missing or damaged.
    pub damage: Vec<String>,
    /// Where it lies among the looks, where nothing was traced.
    pub look: Option<AtLook>,
    /// The nearest moments at which pages are known, where this is none of them and there are some.
    pub pages_at: Vec<String>,
}

crate::texts! {
    /// Where pages are known.
    PAGES_AT: "which pages are resident is known at page snapshots only: {moments}", "常駐ページが分かるのはページスナップショットの時点だけです: {moments}";
    /// A core file.
    CORE: "core file {path}", "コアファイル {path}";
    /// Saved maps.
    MAPS: "saved maps {path}", "保存された maps {path}";
    /// Saved smaps.
    SMAPS: "saved smaps {path}", "保存された smaps {path}";
    /// A copied folder.
    PROC_FOLDER: "copied /proc folder {path}", "コピーされた /proc フォルダー {path}";
    /// A recording before its first event.
    RECORDING_START: "recording {path}, before its first event", "記録 {path} の最初のイベントの前";
    /// A recording at a moment.
    RECORDING: "recording {path} at {seconds} s, after event {seq}", "記録 {path} の {seconds} 秒の時点 (イベント {seq} の直後)";
    /// A recording without an end.
    NOT_ENDED: "this recording was not ended (its writer was killed, or is on another machine): it goes as far as what was written",
        "この記録は終了処理がされていません (強制終了されたか、別のマシンで記録中です)。書き込み済みの範囲を使います";
    /// A recording without an end yet.
    BEING_RECORDED: "this is still being recorded: it goes as far as what was written", "記録中です。書き込み済みの範囲を使います";
    /// A damaged recording.
    DAMAGED: "damaged: {what}; what came after that is not known", "破損: {what}。それより後は分かりません";
    /// More of it.
    DAMAGED_TOO: "damaged in {n} more places ('vmatlas verify' lists them)", "ほかに {n} か所が破損しています ('vmatlas verify' で一覧を表示)";
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
            SourceKind::Recording => RECORDING_START,
        };
        let path = escape::terminal(&self.path);
        let mut first = match &self.moment {
            Some(Moment { seq: Some(seq), since_start, .. }) => {
                let time = seconds(MonoNs(0), *since_start);
                RECORDING.fill(lang, &[("path", &path), ("seconds", &time), ("seq", seq)])
            }
            _ => text.fill(lang, &[("path", &path)]),
        };
        if let Some(signal) = &self.signal {
            first = format!("{first} · {}", SIGNAL.fill(lang, &[("signal", signal)]));
        }
        let mut lines = match self.moment.as_ref().and_then(|moment| moment.look.as_ref()) {
            Some(look) => look.lines(&path, lang),
            None => vec![first],
        };
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
        if let Some(moment) = &self.moment {
            lines.extend(moment.lines(lang));
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
        if let Some(moment) = &self.moment {
            object.insert("event".into(), moment.seq.map_or(Value::Null, |seq| seq.0.into()));
            object.insert("time".into(), (moment.since_start.0 as f64 / 1e9).into());
            object.insert("mm".into(), moment.mm.0.into());
            object.insert("ended".into(), moment.ended.into());
            object.insert("being_recorded".into(), moment.being_recorded.into());
            object.insert("damage".into(), moment.damage.clone().into());
            if let Some(look) = &moment.look {
                object.insert("look".into(), look.json());
            }
            if !moment.pages_at.is_empty() {
                object.insert("pages_at".into(), moment.pages_at.clone().into());
            }
        }
        Value::Object(object)
    }

    /// Whether the source tells private from shared mappings.
    pub(crate) fn knows_sharing(&self) -> bool {
        self.kind != SourceKind::Core
    }
}

impl Moment {
    /// Where pages are known instead.
    pub fn pages_line(&self, lang: Lang) -> Option<String> {
        let moments: Vec<String> = self.pages_at.iter().map(|at| escape::terminal(at.as_bytes())).collect();
        (!moments.is_empty()).then(|| PAGES_AT.fill(lang, &[("moments", &moments.join(", "))]))
    }

    /// What a person must know to trust it.
    fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.ended {
            let text = if self.being_recorded { BEING_RECORDED } else { NOT_ENDED };
            lines.push(text.get(lang).to_owned());
        }
        lines.extend(self.pages_line(lang));
        if let Some(what) = self.damage.first() {
            lines.push(DAMAGED.fill(lang, &[("what", &escape::terminal(what.as_bytes()))]));
        }
        if self.damage.len() > 1 {
            lines.push(DAMAGED_TOO.fill(lang, &[("n", &(self.damage.len() - 1))]));
        }
        lines
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
            moment: None,
        };
        for lang in [Lang::En, Lang::Ja] {
            let lines = source.lines(lang);
            assert!(lines[0].contains("SIGSEGV") && !lines[0].contains('\x1b'), "{lines:?}");
            assert!(lines[1].contains("4,096") && lines[1].contains("8,192"), "{lines:?}");
        }
        assert_eq!(source.json()["truncated"]["of"], 8192);
    }

    /// Checks that a recording says its moment, and how far it can be trusted, and that it cannot drive the terminal.
    #[test]
    fn a_recording_says_its_moment() {
        let moment = Moment {
            seq: Some(Seq(1042)),
            since_start: MonoNs(1_250_000_000),
            mm: MmId(3),
            ended: false,
            being_recorded: false,
            damage: vec!["tail-000001, byte 7: \x1b[31m".to_owned(), "more".to_owned()],
            look: None,
            pages_at: Vec::new(),
        };
        let (kind, path) = (SourceKind::Recording, b"rec".to_vec());
        let source = Source { kind, path, signal: None, truncated: None, left_out: 0, moment: Some(moment) };
        assert_eq!(source.lines(Lang::En)[0], "recording rec at 1.250000 s, after event 1042");
        for lang in [Lang::En, Lang::Ja] {
            let lines = source.lines(lang);
            assert!(
                lines.len() == 4 && lines[2].contains("byte 7") && !lines[2].contains('\x1b'),
                "{lines:?}"
            );
        }
        let json = source.json();
        assert_eq!(
            (&json["event"], &json["time"], &json["ended"]),
            (&1042.into(), &1.25.into(), &false.into())
        );
    }
}
