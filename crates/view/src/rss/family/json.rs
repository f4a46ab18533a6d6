//! A family of processes as JSON.

use super::{Bond, FamilyView, Member, MemberVma};
use crate::json::put_name;
use serde_json::{Map, Value, json};
use vmatlas_event::Bytes;
use vmatlas_model::rss::Copies;

impl FamilyView {
    /// All of it as one document.
    pub fn json(&self) -> Value {
        let family = self.family.as_ref().ok();
        let number = |bytes: Option<Bytes>| bytes.map_or(Value::Null, |b| b.0.into());
        let members: Vec<Value> = self
            .members
            .iter()
            .enumerate()
            .map(|(index, m)| {
                let mut object = Map::new();
                object.insert("pid".into(), m.pid.0.into());
                put_name(&mut object, "name", &m.name);
                let parent = m.parent.and_then(|p| self.members.get(p));
                object.insert("parent".into(), parent.map_or(Value::Null, |p| p.pid.0.into()));
                let same = m.same_memory.and_then(|p| self.members.get(p));
                object.insert("same_memory_as".into(), same.map_or(Value::Null, |p| p.pid.0.into()));
                let family = family.filter(|_| same.is_none());
                object.insert("rss".into(), number(m.rss));
                object.insert("swap".into(), number(m.swap));
                object.insert("alone".into(), number(family.and_then(|f| f.alone.get(index).copied())));
                object
                    .insert("shared".into(), number(family.and_then(|f| f.with_others.get(index).copied())));
                if let Err(why) = self.family {
                    object.insert("alone_why".into(), why.into());
                }
                Value::Object(object)
            })
            .collect();
        let pids = |list: &[usize]| -> Vec<i32> {
            list.iter().filter_map(|m| self.members.get(*m)).map(|m| m.pid.0).collect()
        };
        let sharing = family.map(|f| {
            let entry = |s: &vmatlas_model::rss::SharedBy| {
                json!({ "pids": pids(&s.members), "bytes": s.bytes.0, "anonymous": s.anonymous.0 })
            };
            f.sharing.iter().map(entry).collect::<Vec<_>>()
        });
        let copies = family.map(|f| {
            let entry = |(c, member, vma): &(&Copies, &Member, &MemberVma)| {
                let mut object = Map::new();
                object.insert("pid".into(), member.pid.0.into());
                object.insert("start".into(), vma.range.start().to_string().into());
                object.insert("end".into(), vma.range.end().to_string().into());
                object.insert("kind".into(), vma.kind.id().into());
                put_name(&mut object, "name", &vma.name);
                object.insert("still_shared".into(), c.same.0.into());
                object.insert("copied".into(), c.different.0.into());
                object.insert("new".into(), c.alone.0.into());
                Value::Object(object)
            };
            self.copies(f).iter().map(entry).collect::<Vec<_>>()
        });
        let mut bond = Map::new();
        match &self.bond {
            Bond::Tree(pid) => {
                bond.insert("by".into(), "tree".into());
                bond.insert("of".into(), pid.0.into());
            }
            Bond::Cgroup(path) => {
                bond.insert("by".into(), "cgroup".into());
                put_name(&mut bond, "of", path);
            }
        }
        json!({
            "schema": "vmatlas/rss-family/1",
            "family": bond,
            "members": members,
            "sum_of_rss": number(self.sum_of_rss()),
            "as_one": number(family.map(|f| f.unique)),
            "as_one_why": self.family.as_ref().err(),
            "sharing": sharing,
            "sharing_sets": family.map(|f| f.shared_sets),
            "copies": copies,
            "cgroup": self.cgroup.as_ref().map(super::super::json::cgroup),
            "shmem_mapped_by_nobody": number(self.unmapped_shmem()),
            "gone": self.gone,
            "hidden": self.hidden,
            "cost": self.cost,
        })
    }
}
