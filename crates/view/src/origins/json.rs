//! The rows as one JSON document.

use super::copies::toucher_json;
use super::{By, OriginsView};
use crate::json;
use crate::stack::stack_json;
use serde_json::{Map, Value, json};
use vmatlas_model::{Site, SiteSum};

impl OriginsView {
    /// All of it, rows in order.
    pub fn json(&self, by: By) -> Value {
        let header = &self.header;
        let mut process = Map::new();
        process.insert("pid".into(), header.pid.map_or(Value::Null, |pid| pid.0.into()));
        json::put_name(&mut process, "name", &header.name);
        json::put_name(&mut process, "exe", &header.exe);
        if let Some(source) = &header.source {
            process.insert("source".into(), source.json());
        }
        let sites: Vec<Value> = self.rows(by).iter().map(|(site, sum)| self.row(*site, sum)).collect();
        json!({
            "schema": "vmatlas/origins/1",
            "process": process,
            "by": by.id(),
            "sites": sites,
            "total": self.sum(&self.total()),
            "max_map_count": self.map_limit,
        })
    }

    fn row(&self, site: Site, sum: &SiteSum) -> Value {
        let mut row = self.sum(sum);
        let mut put = |key: &str, value: Value| drop(row.insert(key.into(), value));
        match site {
            Site::Stack(id) => {
                put("site", "stack".into());
                put("stack", id.0.into());
                match self.stacks.get(&id) {
                    Some(shown) => {
                        if let Value::Object(shown) = stack_json(shown) {
                            shown.into_iter().for_each(|(key, value)| put(&key, value));
                        }
                    }
                    None => {
                        put("frames", Value::Null);
                        put("frames_why", "not-recorded".into());
                    }
                }
            }
            Site::Call(pid, call) => {
                put("site", "call".into());
                put("pid", pid.0.into());
                put("call", call.name().into());
            }
            Site::Found(reason) => {
                put("site", "found".into());
                put("reason", json::reason_name(reason).into());
            }
            Site::Unknown => put("site", "unknown".into()),
        }
        if let Some(touchers) = self.touchers.get(&site) {
            let all = touchers.iter().map(|(by, faults)| {
                let mut value = toucher_json(*by, &self.stacks);
                value.as_object_mut().map(|value| value.insert("faults".into(), (*faults).into()));
                value
            });
            put("touched_by", all.collect::<Vec<Value>>().into());
        }
        Value::Object(row)
    }

    fn sum(&self, sum: &SiteSum) -> Map<String, Value> {
        let mut object = Map::new();
        let mut put = |key: &str, value: Result<u64, &str>| {
            if let Err(why) = value {
                object.insert(format!("{key}_why"), why.into());
            }
            object.insert(key.into(), value.map_or(Value::Null, Value::from));
        };
        let of_calls = |n: u64| if self.known.calls { Ok(n) } else { Err("not-recorded") };
        let of_faults = |n: u64| if self.known.faults { Ok(n) } else { Err("not-recorded") };
        put("mapped", Ok(sum.mapped.0));
        put("asked", of_calls(sum.asked.0));
        put("calls", of_calls(sum.calls));
        put("faults", of_faults(sum.faults));
        put("touched", of_faults(sum.touched.0));
        put(
            "resident",
            match (self.known.resident_why, sum.resident) {
                (Some(why), _) => Err(why),
                (None, _) if sum.mapped.0 == 0 => Ok(0),
                (None, Some(bytes)) => Ok(bytes.0),
                (None, None) => Err("unknown"),
            },
        );
        object.insert("vmas".into(), sum.vmas.into());
        object
    }
}
