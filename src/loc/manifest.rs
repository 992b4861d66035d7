//! The workspace's packages and what they are linked from, as the manifests say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::error::Failure;

/// The packages.
pub struct Workspace {
    /// In the order of the root manifest.
    pub packages: Vec<Package>,
}

/// A package.
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder below the root; empty for the root.
    pub folder: String,
    /// What it is linked from: packages of the workspace and of the registry.
    dependencies: Vec<String>,
}

/// What a program is linked from, itself included.
pub struct Closure {
    /// Packages of the workspace.
    pub ours: Vec<String>,
    /// Packages of the registry that they name.
    pub others: Vec<String>,
}

impl Workspace {
    /// Reads the manifests.
    pub fn read(root: &Path) -> Result<Self, Failure> {
        let manifest = table(&root.join("Cargo.toml"))?;
        let members = manifest
            .get("workspace")
            .and_then(|workspace| workspace.get("members"))
            .and_then(Value::as_array);
        let folders = members.into_iter().flatten().filter_map(Value::as_str);
        let packages = folders
            .map(|folder| package(root, folder))
            .collect::<Result<_, _>>()?;
        Ok(Self { packages })
    }

    /// The folders of other packages inside this one's.
    pub fn folders_inside(&self, package: &Package) -> Vec<String> {
        let inside = |folder: &String| {
            *folder != package.folder && Path::new(folder).starts_with(&package.folder)
        };
        self.packages
            .iter()
            .map(|p| p.folder.clone())
            .filter(inside)
            .collect()
    }

    /// What the program is linked from.
    pub fn closure(&self, program: &str) -> Option<Closure> {
        let find = |name: &str| self.packages.iter().find(|package| package.name == name);
        let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
        let mut open = vec![find(program)?];
        while let Some(package) = open.pop() {
            if !ours.insert(package.name.clone()) {
                continue;
            }
            for name in &package.dependencies {
                match find(name) {
                    Some(package) => open.push(package),
                    None => drop(others.insert(name.clone())),
                }
            }
        }
        Some(Closure {
            ours: ours.into_iter().collect(),
            others: others.into_iter().collect(),
        })
    }
}

fn table(path: &Path) -> Result<Table, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
    text.parse()
        .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))
}

fn package(root: &Path, folder: &str) -> Result<Package, Failure> {
    let folder = if folder == "." { "" } else { folder };
    let manifest = table(&root.join(folder).join("Cargo.toml"))?;
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str)
        .unwrap_or(folder);
    let mut dependencies = Vec::new();
    names(&manifest, &mut dependencies);
    for target in manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
    {
        if let Some(target) = target.1.as_table() {
            names(target, &mut dependencies);
        }
    }
    Ok(Package {
        name: name.into(),
        folder: folder.into(),
        dependencies,
    })
}

/// The names in a manifest's `[dependencies]`.
fn names(manifest: &Table, list: &mut Vec<String>) {
    if let Some(dependencies) = manifest.get("dependencies").and_then(Value::as_table) {
        list.extend(dependencies.keys().cloned());
    }
}
