//! Which backend watches, and why, as a line and as JSON.

use crate::lang::{Lang, Text};
use serde_json::{Value, json};
use std::fmt::Display;

/// A backend that was chosen for a command.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The command: run or attach.
    pub command: &'static str,
    /// The backend: ptrace or bpf.
    pub backend: &'static str,
    /// Why; `{value}` in it is `value`.
    pub why: Text,
    /// An option, or what the system said, escaped.
    pub value: String,
}

impl Choice {
    /// The reason.
    pub fn why(&self, lang: Lang) -> String {
        self.why.fill(lang, &[("value", &self.value)])
    }

    /// What was chosen and why, for the beginning of the command.
    pub fn line(&self, lang: Lang) -> String {
        let why = self.why(lang);
        let values: [(&str, &dyn Display); 2] = [("backend", &self.backend), ("why", &why)];
        texts::CHOSEN.fill(lang, &values)
    }

    /// The same for a list of commands.
    pub(crate) fn of_command(&self, lang: Lang) -> String {
        let why = self.why(lang);
        let values: [(&str, &dyn Display); 3] =
            [("command", &self.command), ("backend", &self.backend), ("why", &why)];
        texts::OF_COMMAND.fill(lang, &values)
    }

    /// As JSON has it.
    pub(crate) fn json(&self) -> Value {
        json!({ "command": self.command, "backend": self.backend, "why": self.why(Lang::En) })
    }
}

/// The words, in both languages.
pub mod texts {
    crate::texts! {
        /// At the beginning of a command.
        CHOSEN: "watching with {backend}: {why}", "{backend} で監視します: {why}";
        /// The same where several commands are told of.
        OF_COMMAND: "{command} takes {backend}: {why}", "{command} は {backend} を使用: {why}";
        /// For `run`.
        EACH_CALL_CONFIRMED: "each call is confirmed before the program goes on",
            "呼び出しを 1 つずつ確認してからプログラムを先へ進めます";
        /// For `attach`.
        STOPS_NOTHING: "it stops nothing", "プロセスを停止させません";
        /// One backend alone can do it.
        OPTION_NEEDS_STOPS: "{value} needs it", "{value} に必要です";
        /// No privileges.
        NOT_PERMITTED: "BPF, which stops nothing, needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE",
            "プロセスを停止させない BPF には、root か CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE が必要です";
        /// Root without the capabilities.
        NOT_PERMITTED_ROOT: "BPF is not permitted to this root, which lacks CAP_BPF or CAP_PERFMON (a container)",
            "この root には BPF に必要な CAP_BPF か CAP_PERFMON がありません (コンテナーなど)";
        /// Locked down.
        LOCKED_DOWN: "this kernel is locked down, and lets no BPF program read it",
            "このカーネルはロックダウンされていて、BPF プログラムは読み取れません";
        /// No types.
        NO_BTF: "this kernel has no BTF, which BPF programs need", "このカーネルには BPF プログラムに必要な BTF がありません";
        /// Another reason.
        CANNOT_LOAD: "BPF cannot be used here ({value})", "ここでは BPF を使えません ({value})";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that both languages say everything, and that a line is a line.
    #[test]
    fn choices_are_told() {
        assert_eq!(crate::lang::gaps(texts::ALL), Vec::<String>::new());
        let choice = Choice {
            command: "attach",
            backend: "ptrace",
            why: texts::OPTION_NEEDS_STOPS,
            value: "--check".to_owned(),
        };
        assert_eq!(choice.line(Lang::En), "watching with ptrace: --check needs it");
        assert_eq!(choice.of_command(Lang::Ja), "attach は ptrace を使用: --check に必要です");
    }
}
