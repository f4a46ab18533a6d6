//! What the values of options may be.

use std::time::Duration;
use vmatlas_event::{Addr, Bytes, OpKind, Prot};
use vmatlas_model::kind::Kind;
use vmatlas_proc::Method;
use vmatlas_view::{Lang, ps, units};

pub(super) fn parse_lang(text: &str) -> Result<Lang, String> {
    Lang::from_locale(text).ok_or_else(|| "en or ja".to_owned())
}

pub(crate) fn parse_kind(text: &str) -> Result<Kind, String> {
    Kind::from_id(text).ok_or_else(|| {
        let ids: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
        format!("kinds are {}", ids.join(", "))
    })
}

pub(super) fn parse_rwx(text: &str) -> Result<Prot, String> {
    if text.is_empty() || !text.chars().all(|c| "rwx-".contains(c)) {
        return Err("letters of rwx".to_owned());
    }
    Ok(Prot::new(text.contains('r'), text.contains('w'), text.contains('x')))
}

pub(crate) fn parse_size(text: &str) -> Result<Bytes, String> {
    units::parse_size(text).ok_or_else(|| "a size such as 4096, 64KiB or 1.5GiB".to_owned())
}

pub(crate) fn parse_addr(text: &str) -> Result<Addr, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map(Addr)
        .map_err(|_| "a hexadecimal address such as 0x7f001000".to_owned())
}

/// Seconds, or a number with its unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    } * number.parse::<f64>().unwrap_or(f64::NAN);
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time such as 10, 1.5s, 500ms or 2m".to_owned())
}

pub(super) fn parse_ps_sort(text: &str) -> Result<ps::Sort, String> {
    one_of(&ps::Sort::ALL, text)
}

pub(super) fn parse_by(text: &str) -> Result<ps::By, String> {
    one_of(&ps::By::ALL, text)
}

fn one_of<T: Copy>(all: &[(T, &str)], text: &str) -> Result<T, String> {
    all.iter().find(|(_, word)| *word == text).map(|(value, _)| *value).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|(_, word)| *word).collect();
        format!("one of {}", words.join(", "))
    })
}

pub(crate) fn parse_method(text: &str) -> Result<Method, String> {
    Method::from_id(text).ok_or_else(|| Method::ALL.map(Method::id).join(", "))
}

pub(crate) fn parse_call(text: &str) -> Result<OpKind, String> {
    let all = || OpKind::CALLS.iter().copied().chain([OpKind::Fault]);
    all().find(|kind| kind.name() == text).ok_or_else(|| {
        let names: Vec<&str> = all().map(OpKind::name).collect();
        format!("calls are {}", names.join(", "))
    })
}
