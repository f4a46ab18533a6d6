//! Whether a recording is sound: what was checked and replayed, and what differed, as text and JSON.

use crate::check;
use crate::escape;
use crate::json;
use crate::lang::Lang;
use crate::run::LineOptions;
use crate::style::Paint;
use crate::units::count;
use serde_json::{Map, Value, json};
use std::fmt::{self, Display, Write};
use vmatlas_event::{Seq, VmaRow};
use vmatlas_model::Level;
use vmatlas_model::timeline::{Verified, Wrong};

crate::texts! {
    /// What was read.
    FILES: "files: {files} read to their ends, {rows} rows, damaged places: {damage}", "ファイル: {files} 個を最後まで読み取り, {rows} 行, 破損 {damage} か所";
    /// What was replayed.
    REPLAY: "replay: {events} events; {snapshots} snapshots compared, {different} differ; {keyframes} keyframes compared, {wrong} differ",
        "再生: イベント {events}; スナップショット {snapshots} 個と比較, 相違 {different}; キーフレーム {keyframes} 個と比較, 相違 {wrong}";
    /// What the answers of the kernel contradicted.
    DRIFT: "the kernel's answers: {asked} taken, {drift} contradict the replay", "カーネルの回答: {asked} 件, 再生との食い違い {drift}";
    /// What became of looks.
    LOOKS: "looks and page snapshots: {looks} compared with replay and with the pages that belong to them, {wrong} differ", "観測とページスナップショット: {looks} 回を再生結果とページの記録に照らして比較, 相違 {wrong}";
    /// A look that differs.
    LOOK: "the look that ends with event {seq} says other sums than its map and pages give", "イベント {seq} で終わる観測の合計が、そのメモリマップとページの記録に一致しません";
    /// Events that are missing.
    LOST: "{n} events were lost while it was recorded: they could not be written in time", "記録中に {n} 個のイベントが失われました: 書き込みが間に合いませんでした";
    /// A recording without an end.
    NOT_ENDED: "it was not ended: its writer was killed, or is on another machine", "終了処理がされていません: 強制終了されたか、別のマシンで記録中です";
    /// A recording without an end yet.
    BEING_RECORDED: "it is still being recorded", "記録中です";
    /// A damaged place.
    DAMAGE: "damaged: {what}", "破損: {what}";
    /// A snapshot that differs.
    SNAPSHOT: "the snapshot that is event {seq} (address space {mm}) is not what replay gives", "イベント {seq} のスナップショット (アドレス空間 {mm}) が再生結果と異なります";
    /// A keyframe that differs.
    KEYFRAME: "the keyframe after event {seq} (address space {mm}) is not what replay gives", "イベント {seq} の直後のキーフレーム (アドレス空間 {mm}) が再生結果と異なります";
    /// A keyframe where there can be none.
    KEYFRAME_INSIDE: "the keyframe after event {seq} is inside a call", "イベント {seq} の直後のキーフレームが呼び出しの途中にあります";
    /// More than are told.
    MORE: "… and {n} more", "… ほかに {n} 件";
    /// All is well.
    SOUND: "sound: nothing damaged, 0 differences", "問題なし: 破損なし, 相違 0";
    /// Something is wrong.
    UNSOUND: "not sound: damaged places: {damage}, differences: {differences}", "問題あり: 破損 {damage} か所, 相違 {differences}";
}

/// What was found out about a recording.
#[derive(Clone, Debug, Default)]
pub struct VerifyView {
    /// Where it is.
    pub path: Vec<u8>,
    /// Whether it was ended.
    pub ended: bool,
    /// Whether its writer is at work.
    pub being_recorded: bool,
    /// Files that were read.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// What is not as it was written.
    pub damage: Vec<String>,
    /// What replay found.
    pub verified: Verified,
    /// What became of looks and page snapshots, where there are some.
    pub looks: Option<LooksVerified>,
}

/// Looks, compared with replay and with the rows of pages that belong to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LooksVerified {
    /// How many.
    pub looks: u64,
    /// Those whose sums are others.
    pub wrong: u64,
    /// The first of them.
    pub first: Option<Seq>,
}

impl VerifyView {
    /// Contradictions of all kinds.
    fn differences(&self) -> u64 {
        let tally = &self.verified.tally;
        let looks = self.looks.map_or(0, |looks| looks.wrong);
        tally.drift + tally.differences + self.verified.wrong_keyframes + looks
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.differences() == 0
    }

    /// Writes the figures and what is wrong.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &LineOptions) -> fmt::Result {
        let (lang, style, v) = (options.lang, options.style, &self.verified);
        let damage = self.damage.len() as u64;
        writeln!(out, "{}", style.paint(Paint::Heading, &escape::terminal(&self.path)))?;
        let values: [(&str, &dyn Display); 3] =
            [("files", &count(self.files)), ("rows", &count(self.rows)), ("damage", &count(damage))];
        writeln!(out, "{}", FILES.fill(lang, &values))?;
        let values: [(&str, &dyn Display); 5] = [
            ("events", &count(v.events)),
            ("snapshots", &count(v.compared)),
            ("different", &count(v.different)),
            ("keyframes", &count(v.keyframes)),
            ("wrong", &count(v.wrong_keyframes)),
        ];
        writeln!(out, "{}", REPLAY.fill(lang, &values))?;
        let values: [(&str, &dyn Display); 2] =
            [("asked", &count(v.tally.asked)), ("drift", &count(v.tally.drift))];
        writeln!(out, "{}", DRIFT.fill(lang, &values))?;
        if let Some(looks) = &self.looks {
            let values: [(&str, &dyn Display); 2] =
                [("looks", &count(looks.looks)), ("wrong", &count(looks.wrong))];
            writeln!(out, "{}", LOOKS.fill(lang, &values))?;
        }
        if v.lost > 0 {
            writeln!(out, "{}", LOST.fill(lang, &[("n", &count(v.lost))]))?;
        }
        if !self.ended {
            let text = if self.being_recorded { BEING_RECORDED } else { NOT_ENDED };
            writeln!(out, "{}", text.get(lang))?;
        }
        for what in &self.damage {
            let line = DAMAGE.fill(lang, &[("what", &escape::terminal(what.as_bytes()))]);
            writeln!(out, "{}", style.paint(Paint::Failed, &line))?;
        }
        if let Some(seq) = self.looks.and_then(|looks| looks.first) {
            let line = LOOK.fill(lang, &[("seq", &seq)]);
            writeln!(out, "{}", style.paint(Paint::Failed, &line))?;
        }
        for wrong in &v.first {
            writeln!(out, "{}", style.paint(Paint::Failed, &wrong_text(wrong, lang)))?;
            if let Wrong::Snapshot { difference: Some(difference), .. } = wrong {
                writeln!(out, "  {}", check::difference(difference, None, options).replace('\n', "\n  "))?;
            }
        }
        let told = v.first.len() as u64;
        let more = (v.different + v.wrong_keyframes).saturating_sub(told);
        if more > 0 {
            writeln!(out, "{}", MORE.fill(lang, &[("n", &count(more))]))?;
        }
        let values: [(&str, &dyn Display); 2] =
            [("damage", &count(damage)), ("differences", &count(self.differences()))];
        match self.is_sound() {
            true => writeln!(out, "{}", style.paint(Paint::Added, SOUND.get(lang))),
            false => writeln!(out, "{}", style.paint(Paint::Failed, &UNSOUND.fill(lang, &values))),
        }
    }

    /// The same as one JSON document.
    pub fn json(&self) -> Value {
        let v = &self.verified;
        let mut object = Map::new();
        object.insert("schema".into(), "vmatlas/verify/1".into());
        json::put_name(&mut object, "path", &self.path);
        for (key, value) in [
            ("sound", json!(self.is_sound())),
            ("ended", json!(self.ended)),
            ("being_recorded", json!(self.being_recorded)),
            ("files", json!(self.files)),
            ("rows", json!(self.rows)),
            ("damage", json!(self.damage)),
            ("events", json!(v.events)),
            ("lost", json!(v.lost)),
            ("snapshots", json!({ "compared": v.compared, "different": v.different })),
            ("keyframes", json!({ "compared": v.keyframes, "different": v.wrong_keyframes })),
            ("asked", json!(v.tally.asked)),
            ("drift", json!(v.tally.drift)),
            ("differences", json!(self.differences())),
            ("first", v.first.iter().map(wrong_json).collect()),
        ] {
            object.insert(key.to_owned(), value);
        }
        if let Some(looks) = &self.looks {
            let value = json!({ "compared": looks.looks, "different": looks.wrong });
            object.insert("looks".to_owned(), value);
        }
        Value::Object(object)
    }
}

fn wrong_text(wrong: &Wrong, lang: Lang) -> String {
    match wrong {
        Wrong::Snapshot { seq, mm, .. } => SNAPSHOT.fill(lang, &[("seq", seq), ("mm", mm)]),
        Wrong::Keyframe { after, mm: Some(mm) } => KEYFRAME.fill(lang, &[("seq", after), ("mm", mm)]),
        Wrong::Keyframe { after, mm: None } => KEYFRAME_INSIDE.fill(lang, &[("seq", after)]),
    }
}

fn wrong_json(wrong: &Wrong) -> Value {
    let rows = |rows: &[VmaRow]| rows.iter().map(|row| Value::Object(json::vma(row))).collect::<Vec<_>>();
    match wrong {
        Wrong::Snapshot { seq, mm, difference } => {
            let difference = difference.as_ref().map(|d| {
                json!({
                    "level": match d.level { Level::Coverage => "pages", Level::Boundaries => "boundaries" },
                    "start": json::addr(d.at.start()), "end": json::addr(d.at.end()),
                    "replay": rows(&d.model), "kernel": rows(&d.kernel),
                })
            });
            json!({ "what": "snapshot", "event": seq.0, "mm": mm.0, "difference": difference })
        }
        Wrong::Keyframe { after, mm } => {
            json!({ "what": "keyframe", "event": after.0, "mm": mm.map(|mm| mm.0) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Style;
    use vmatlas_event::{MmId, MonoNs};

    fn options(lang: Lang) -> LineOptions {
        LineOptions {
            lang,
            style: Style::default(),
            start: MonoNs(0),
            columns: None,
            errno_name: |_| None,
            signal_name: |_| String::new(),
        }
    }

    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(ALL), Vec::<String>::new());
    }

    /// Checks that damage and differences make a recording unsound, are told, and cannot drive the terminal.
    #[test]
    fn what_is_wrong_is_told() {
        let mut view = VerifyView { ended: true, ..VerifyView::default() };
        let text = |view: &VerifyView, lang| {
            let mut out = String::new();
            view.write_text(&mut out, &options(lang)).unwrap();
            out
        };
        assert!(view.is_sound() && text(&view, Lang::En).ends_with("0 differences\n"));
        view.damage.push("seg-000001/\x1b[31m".to_owned());
        assert!(!view.is_sound() && view.json()["sound"] == false);
        view.verified.wrong_keyframes = 3;
        view.verified.first.push(Wrong::Keyframe { after: Seq(99), mm: Some(MmId(7)) });
        for lang in [Lang::En, Lang::Ja] {
            let text = text(&view, lang);
            assert!(text.contains("99") && text.contains("seg-000001/") && !text.contains('\x1b'), "{text}");
        }
        assert_eq!((&view.json()["differences"], &view.json()["first"][0]["event"]), (&3.into(), &99.into()));
    }
}
