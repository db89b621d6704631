//! What is remembered of the apps' users, and what is made of it when the folders say otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rowhouse_core::AppName;
use serde::{Deserialize, Serialize};

use crate::users::uids::Uids;

/// The format of the file.
const FORMAT: u32 = 1;

/// Who owns the folders of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) owners: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    uid: u32,
    /// Nothing in the app's folders is root's any more.
    is_settled: bool,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Known {
    format: u32,
    /// Where new ones come from.
    pub(crate) uids: Uids,
    /// The one that comes next: one that was an app's is the last to be given again.
    next: u32,
    apps: BTreeMap<String, Entry>,
    /// Those that nobody has, and something is left of.
    left: BTreeSet<u32>,
}

impl Known {
    pub(crate) fn parse(text: &[u8]) -> io::Result<Known> {
        let known: Known = serde_json::from_slice(text)?;
        if known.format == FORMAT {
            Ok(known)
        } else {
            Err(io::Error::other(format!("its format {} is not {FORMAT}", known.format)))
        }
    }

    /// What is known when a platform starts. Who owns an app's folders has its number; the file has
    /// the word where they say nothing, or two apps claim one. `left`: what else something belongs
    /// to. `could_be_given`: whether a number may be an app's at all.
    pub(crate) fn settled(
        read: Option<Known>,
        uids: Uids,
        witnesses: &BTreeMap<AppName, Witness>,
        left: &BTreeSet<u32>,
        could_be_given: impl Fn(u32) -> bool,
    ) -> Known {
        let before = read.as_ref().map(|known| known.apps.clone()).unwrap_or_default();
        let mut known = Known {
            format: FORMAT,
            uids,
            next: read.as_ref().map_or(uids.first(), |known| known.next),
            apps: BTreeMap::new(),
            left: read.map(|known| known.left).unwrap_or_default(),
        };
        known.left.extend(left.iter().copied().filter(|id| could_be_given(*id)));
        let claims = |name: &str| {
            let name = AppName::parse(name).ok();
            name.and_then(|name| witnesses.get(&name)).map_or(&[][..], |witness| &witness.owners)
        };
        let mut claim = |name: &str, entry: Entry| {
            let is_others = known.apps.values().any(|other| other.uid == entry.uid);
            if could_be_given(entry.uid) && !is_others && !known.apps.contains_key(name) {
                known.apps.insert(name.to_owned(), entry);
            }
        };
        for (name, entry) in &before {
            if claims(name).contains(&entry.uid) {
                claim(name, *entry);
            }
        }
        for (name, witness) in witnesses {
            for uid in &witness.owners {
                claim(name.as_str(), Entry { uid: *uid, is_settled: false });
            }
        }
        for (name, entry) in &before {
            claim(name, Entry { is_settled: false, ..*entry });
        }
        let lost = before.values().map(|entry| entry.uid);
        let owners = witnesses.values().flat_map(|witness| witness.owners.iter().copied());
        let given: BTreeSet<u32> = known.apps.values().map(|entry| entry.uid).collect();
        known.left.extend(lost.chain(owners).filter(|id| could_be_given(*id)));
        known.left.retain(|id| !given.contains(id));
        known
    }

    pub(crate) fn user(&self, name: &AppName) -> Option<u32> {
        self.apps.get(name.as_str()).map(|entry| entry.uid)
    }

    /// Gives an app a number that no other app has or has left anything of.
    pub(crate) fn give(&mut self, name: &AppName, is_free: impl Fn(u32) -> bool) -> Option<u32> {
        let given: BTreeSet<u32> = self.apps.values().map(|entry| entry.uid).collect();
        let is_nobodys = |id: &u32| !given.contains(id) && !self.left.contains(id) && is_free(*id);
        let uid = self.uids.from(self.next).find(is_nobodys)?;
        self.next = uid.saturating_add(1);
        self.apps.insert(name.as_str().to_owned(), Entry { uid, is_settled: false });
        Some(uid)
    }

    /// Forgets the apps of which nothing is left.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(&AppName, u32) -> bool) {
        self.apps.retain(|name, entry| {
            AppName::parse(name).is_ok_and(|name| !is_gone(&name, entry.uid))
        });
    }

    /// Those of which nothing is left are free again.
    pub(crate) fn free(&mut self, owners: &BTreeSet<u32>) {
        self.left.retain(|id| owners.contains(id));
    }

    pub(crate) fn is_settled(&self, name: &AppName) -> bool {
        self.apps.get(name.as_str()).is_some_and(|entry| entry.is_settled)
    }

    pub(crate) fn settle(&mut self, name: &AppName) {
        if let Some(entry) = self.apps.get_mut(name.as_str()) {
            entry.is_settled = true;
        }
    }

    pub(crate) fn unsettle(&mut self) {
        self.apps.values_mut().for_each(|entry| entry.is_settled = false);
    }

    pub(crate) fn unsettled(&self) -> Vec<AppName> {
        let unsettled = self.apps.iter().filter(|(_, entry)| !entry.is_settled);
        unsettled.filter_map(|(name, _)| AppName::parse(name).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AppName {
        AppName::parse(text).unwrap()
    }

    fn owned(owners: &[(&str, u32)]) -> BTreeMap<AppName, Witness> {
        let owners = owners.iter().map(|(of, uid)| (name(of), Witness { owners: vec![*uid] }));
        owners.collect()
    }

    fn start(read: Option<&Known>, owners: &[(&str, u32)], left: &[u32]) -> Known {
        let uids = "100-103".parse().unwrap();
        let left = left.iter().copied().collect();
        Known::settled(read.cloned(), uids, &owned(owners), &left, |id| (100..200).contains(&id))
    }

    fn give(known: &mut Known, to: &str) -> Option<u32> {
        known.give(&name(to), |_| true)
    }

    #[test]
    fn a_number_that_was_given_is_kept_and_no_other_app_gets_it() {
        let mut known = start(None, &[], &[]);
        assert_eq!(give(&mut known, "shop"), Some(100));
        assert_eq!(give(&mut known, "blog"), Some(101));
        let read = Known::parse(&serde_json::to_vec(&known).unwrap()).unwrap();
        let mut known = start(Some(&read), &[("shop", 100), ("blog", 101)], &[]);
        assert_eq!(known.user(&name("shop")), Some(100));
        assert_eq!(give(&mut known, "news"), Some(102));
    }

    #[test]
    fn without_the_file_the_folders_bear_witness_and_what_else_is_left_is_nobodys() {
        let mut known = start(None, &[("shop", 102), ("old", 0)], &[0, 100, 102]);
        assert_eq!(known.user(&name("shop")), Some(102));
        assert_eq!(known.user(&name("old")), None);
        assert_eq!(give(&mut known, "news"), Some(101));
        assert_eq!(give(&mut known, "old"), Some(103));
        assert_eq!(give(&mut known, "more"), None);
        // Of 100 nothing is left, and nothing of the app that had 101.
        known.free(&BTreeSet::from([102, 103]));
        known.forget(|of, uid| *of == name("news") && uid == 101);
        assert_eq!(give(&mut known, "more"), Some(100));
        assert_eq!(give(&mut known, "last"), Some(101));
    }

    #[test]
    fn a_file_of_another_folder_or_an_old_one_gives_no_app_what_is_anothers() {
        let mut other = start(None, &[], &[]);
        for of in ["shop", "blog", "gone"] {
            give(&mut other, of);
        }
        let mut known = start(Some(&other), &[("blog", 100), ("shop", 103)], &[]);
        assert_eq!(known.user(&name("blog")), Some(100));
        assert_eq!(known.user(&name("shop")), Some(103));
        assert_eq!(known.user(&name("gone")), Some(102));
        // 101 was the blog's, by the file: something may be left.
        assert_eq!(give(&mut known, "news"), None);
    }

    #[test]
    fn of_two_apps_with_folders_of_one_user_the_one_keeps_it_that_the_file_names() {
        let mut read = start(None, &[], &[]);
        give(&mut read, "shop");
        let mut known = start(Some(&read), &[("copy", 100), ("shop", 100)], &[]);
        assert_eq!(known.user(&name("shop")), Some(100));
        assert_eq!(known.user(&name("copy")), None);
        assert_eq!(give(&mut known, "copy"), Some(101));
        assert!(!known.is_settled(&name("copy")));
    }

    #[test]
    fn a_file_that_is_cut_or_of_a_later_format_is_none() {
        let text = serde_json::to_vec(&start(None, &[], &[])).unwrap();
        assert!(Known::parse(&text[..text.len() / 2]).is_err());
        let later = String::from_utf8(text).unwrap().replace("\"Format\":1", "\"Format\":2");
        assert!(Known::parse(later.as_bytes()).is_err());
    }
}
