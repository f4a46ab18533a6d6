//! Huge pages that are set aside (hugetlb): reserved by mmap, taken by the touch, and not in the resident size.

mod steps;

use crate::cleanup::Cleanup;
use crate::error::LabError;
use crate::experiments::machine::calls::{args, expected, take, word};
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, PRIVATE, RW, status_word};
use crate::memory::Meminfo;
use crate::report::Report;
use crate::say::Word;
use crate::settings::{Param, Takes};
use crate::squares::part_of;
use steps::{change, sizes, touch, unpromised};
use vmatlas_event::{Bytes, MapFlags};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("explicit-huge-pages", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::count("pages", "2", 1, 64), RESERVE])
        .needs(&[Need::HugePages]);

/// How many more the machine sets aside for as long as the experiment takes.
const RESERVE: Param = Param { name: "reserve", takes: Takes::Count(1, 64), usual: "" };
const SET_ASIDE: &str = "/proc/sys/vm/nr_hugepages";
const HUGETLB: u64 = 0x4_0000;
const FREE: &str = "HugePages_Free";
const RESERVED: &str = "HugePages_Rsvd";
/// Where the kernel does not tell the size of a huge page, since it has none.
const USUAL: u64 = 2 << 20;
/// Pages in the picture.
const SHOWN: u64 = 6;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let more = setup.settings.has("reserve").then(|| setup.settings.count("reserve"));
    let added = |more: u64| move |now: &str| (now.parse().unwrap_or(0u64) + more).to_string();
    let _cleanup = Cleanup::with_setting(SET_ASIDE, more.map(added))?;
    let at_start = Meminfo::now();
    let huge = at_start.size("Hugepagesize").unwrap_or(Bytes(USUAL));
    let pages = setup.settings.count("pages");
    let length = pages * huge.0;
    let count = |key| at_start.count(key).map_or(Word::from("?"), Word::from);
    setup.set("n", pages);
    setup.set("huge", huge);
    setup.set("length", Bytes(length));
    setup.set("total", count("HugePages_Total"));
    setup.set("free", count(FREE));
    setup.set("reserved", count(RESERVED));
    setup.set("sizes", sizes());
    let mut lab = setup.begin(Vec::new())?;
    lab.set("extra", lab.report.machine.huge_extra.map_or(Word::from("?"), Word::from));
    lab.set("page", Bytes(lab.page()));
    let small = length / lab.page();
    // The counts are of the whole machine: where others have huge pages, they may take and return some meanwhile.
    let alone =
        at_start.count("HugePages_Total") == at_start.count(FREE) && at_start.count(RESERVED) == Some(0);
    let counted = |lab: &Lab<'_>, n: u64| match alone {
        true => Expected::Is(Value::Count(n)),
        false => Expected::Unknown(lab.why("others")),
    };
    lab.step_alone("look", |lab| {
        lab.say("look");
        Ok(())
    })?;

    let call = args(length, RW, MapFlags(PRIVATE.0 | HUGETLB), -1);
    // What is made when asked may not be found, and does not stay when it is given back.
    let makes_more = lab.report.machine.huge_extra != Some(0);
    let predicted = match expected(&lab, &call) {
        Expected::Unknown(_) if makes_more => Expected::Unknown(lab.why("extra")),
        expected => expected,
    };
    let mapped = lab.step("map", |lab| {
        let mapped = take(lab, call)?;
        lab.say(if mapped.is_ok() { "map" } else { "refused" });
        Ok(mapped)
    })?;
    lab.fact("call", predicted, word(mapped));

    let now = Meminfo::now();
    match mapped {
        Ok(area) => {
            lab.draw("map", part_of(area, 0, SHOWN), &[], &[])?;
            let measured = change(&lab, RESERVED, &at_start, &now);
            let predicted = counted(&lab, pages);
            lab.fact("promised", predicted, measured);
            let aligned = area.start().0.is_multiple_of(huge.0);
            lab.is("aligned", Value::Yes(true), Value::Yes(aligned));
            touch(&mut lab, area, small, pages)?;
            let after = Meminfo::now();
            let measured = change(&lab, FREE, &after, &now);
            let predicted = counted(&lab, pages);
            lab.fact("taken", predicted, measured);
            let part = part_of(area, 0, 1);
            let reply = lab.step_alone("part", |lab| lab.unmap(part))?;
            lab.is("part", Value::Word("EINVAL".to_owned()), Value::Word(status_word(reply)));
        }
        Err(_) => {
            for (id, value) in [
                ("promised", Value::Count(pages)),
                ("aligned", Value::Yes(true)),
                ("faults", Value::Count(pages)),
                ("rss", Value::Bytes(0)),
                ("hugetlb", Value::Bytes(length)),
                ("taken", Value::Count(pages)),
                ("part", Value::Word("EINVAL".to_owned())),
            ] {
                let why = lab.why("none");
                lab.fact(id, Expected::Is(value), Measured::NotRead(why));
            }
        }
    }
    unpromised(&mut lab, huge.0)?;

    let returned = match mapped {
        Ok(area) => {
            let before = Meminfo::now();
            lab.step("unmap", |lab| lab.unmap(area))?.unwrap_or(0);
            change(&lab, FREE, &before, &Meminfo::now())
        }
        Err(_) => Measured::NotRead(lab.why("none")),
    };
    let predicted = match mapped {
        Ok(_) if makes_more => Expected::Unknown(lab.why("extra")),
        Ok(_) => counted(&lab, pages),
        Err(_) => Expected::Is(Value::Count(pages)),
    };
    lab.fact("returned", predicted, returned);
    Ok(lab.end())
}
