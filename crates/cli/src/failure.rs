//! Why a command that watches has no status of the program to end with.

use crate::complain;
use crate::context::Context;
use crate::faults;
use crate::texts;
use std::process::ExitCode;
use vmatlas_trace::TraceError;

/// Our own status where there is none of the program.
pub(crate) const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Why there is no status of the program to end with.
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Says it, and gives the exit status.
    pub(crate) fn tell(&self, context: &Context) -> ExitCode {
        complain(context, &self.message);
        ExitCode::from(self.code)
    }

    /// What the tracer could not do.
    pub(crate) fn of_trace(error: &TraceError, context: &Context) -> Failure {
        let lang = context.lang;
        let (code, message) = match error {
            TraceError::NotFound { program } => {
                (NOT_FOUND, texts::NOT_FOUND.fill(lang, &[("program", program)]))
            }
            TraceError::NotExecutable { program, errno } => {
                let why = vmatlas_sys::errno_text(*errno);
                (NOT_EXECUTABLE, texts::NOT_EXECUTABLE.fill(lang, &[("program", program), ("why", &why)]))
            }
            TraceError::NotPermitted { .. } => (OWN_FAILURE, texts::TRACE_NOT_PERMITTED.get(lang).to_owned()),
            TraceError::Gone { pid } => (OWN_FAILURE, texts::NO_PROCESS.fill(lang, &[("pid", pid)])),
            TraceError::Faults { errno } => (OWN_FAILURE, faults::refused(*errno, context)),
            TraceError::Bpf(error) => (OWN_FAILURE, crate::backend::explain(error, context)),
            TraceError::User { errno } => {
                let why = vmatlas_sys::errno_text(*errno);
                (OWN_FAILURE, texts::CANNOT_BECOME.fill(lang, &[("why", &why)]))
            }
            TraceError::TooOld => (OWN_FAILURE, texts::TRACE_TOO_OLD.get(lang).to_owned()),
            TraceError::NulByte { program } => {
                (OWN_FAILURE, texts::NUL_BYTE.fill(lang, &[("program", program)]))
            }
            TraceError::System { what, errno } => {
                let why = vmatlas_sys::errno_text(*errno);
                (OWN_FAILURE, texts::SYSTEM.fill(lang, &[("what", what), ("why", &why)]))
            }
        };
        Failure { code, message }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { code: OWN_FAILURE, message: format!("{error:#}") }
    }
}
