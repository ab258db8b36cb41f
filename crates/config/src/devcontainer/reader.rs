//! The properties of a devcontainer.json, one after another, into a configuration and notes.

use super::{
    DevContainer, Project,
    json::Property,
    mount,
    property::{self, Fate, RunArg},
    script::{self, Command},
    variable::{Expanded, Side, expand},
};
use crate::{
    account::Account,
    bound::{self, shortened},
    workspace::MountRequest,
};
use agentkernel_model::{
    Error, Result, command::EnvVar, mount::Workspace, path::GuestPath, policy::NetworkSwitch,
    port::PublishedPort, text::printable,
};
use jsonc_parser::ast::Value;

/// A person reads no more notes than this.
const MOST_NOTES: usize = 100;

/// Takes over one property after another.
#[derive(Debug)]
pub(super) struct Reader<'p> {
    project: Project<'p>,
    found: DevContainer,
    /// Each with the name of its property.
    commands: Vec<(String, Command)>,
    /// `containerUser` and `remoteUser`.
    users: [Option<Account>; 2],
}

/// The commands that are run inside, in the order in which they are run.
const COMMANDS: [&str; 3] = ["onCreateCommand", "updateContentCommand", "postCreateCommand"];

impl<'p> Reader<'p> {
    pub(super) fn new(project: Project<'p>) -> Self {
        Self { project, found: DevContainer::default(), commands: Vec::new(), users: [None, None] }
    }

    pub(super) fn property(&mut self, property: &Property<'_, '_>) -> Result<()> {
        match property::fate(property.name) {
            Fate::Read => self.read(property),
            Fate::Silent => Ok(()),
            Fate::Reported(why) => {
                if !is_nothing(property.value) {
                    self.note(property, &format!("'{}' {why}", property.name));
                }
                Ok(())
            }
            Fate::Refused(why) => Err(property
                .source
                .unsupported(property.span(), format!("'{}' {why}", property.name))
                .with_hint("write an agentkernel.toml instead: agentkernel init")),
            Fate::Unknown => {
                self.note(property, &format!("'{}' is not known", printable(&shortened(property.name))));
                Ok(())
            }
        }
    }

    fn read(&mut self, property: &Property<'_, '_>) -> Result<()> {
        match property.name {
            "name" => {
                let text = property.string()?;
                self.found.config.description = Some(property.located(bound::text(text, 1024))?.to_owned());
            }
            "image" => {
                if let Some(text) = self.inside(property)? {
                    self.found.config.image = Some(property.located(text.parse())?);
                }
            }
            "build" => self.build(property)?,
            "dockerFile" => self.build_key(property, "dockerfile")?,
            "context" => self.build_key(property, "context")?,
            "containerEnv" | "remoteEnv" => self.environment(property)?,
            "containerUser" => self.users[0] = self.account(property)?,
            "remoteUser" => self.users[1] = self.account(property)?,
            "mounts" => {
                for item in property.items()? {
                    self.mount(&item)?;
                }
            }
            "forwardPorts" => {
                for item in property.items()? {
                    self.port(&item)?;
                }
            }
            "appPort" if matches!(property.value, Value::Array(_)) => {
                for item in property.items()? {
                    self.port(&item)?;
                }
            }
            "appPort" => self.port(property)?,
            "workspaceFolder" => self.folder(property)?,
            "runArgs" => self.run_args(property)?,
            "securityOpt" => {
                for item in property.items()? {
                    if !property::is_harmless(item.string()?) {
                        return Err(narrower(&item));
                    }
                    self.note(&item, "'securityOpt' is left out: a sandbox never gets it from a file");
                }
            }
            _ => self.lifecycle(property)?,
        }
        Ok(())
    }

    fn note(&mut self, property: &Property<'_, '_>, what: &str) {
        let notes = &mut self.found.notes;
        match notes.len() {
            count if count < MOST_NOTES => notes.push(property.source.at(property.span(), what)),
            MOST_NOTES => notes.push("and more that is left out".to_owned()),
            _ => {}
        }
    }

    /// The text of a property with its variables; `None`, with a note, when one of them cannot be known.
    fn expanded(&mut self, property: &Property<'_, '_>, side: Side) -> Result<Option<String>> {
        match expand(property.string()?, side, self.project) {
            Expanded::Text(text) => Ok(Some(text)),
            Expanded::Needs(variable) => {
                let (name, variable) = (printable(property.name), printable(&shortened(&variable)));
                self.note(property, &format!("'{name}' is left out: {variable} is not known here"));
                Ok(None)
            }
        }
    }

    fn inside(&mut self, property: &Property<'_, '_>) -> Result<Option<String>> {
        self.expanded(property, Side::Inside)
    }

    fn build(&mut self, property: &Property<'_, '_>) -> Result<()> {
        for part in property.properties()? {
            match part.name {
                "dockerfile" | "context" | "target" => self.build_key(&part, part.name)?,
                "args" => {
                    for argument in part.properties()? {
                        if let Some(value) = self.inside(&argument)? {
                            let pair = argument.located(crate::build::argument(argument.name, &value))?;
                            self.found.config.build.args.push(pair);
                        }
                    }
                }
                _ => {
                    let name = printable(&shortened(part.name));
                    self.note(&part, &format!("'build.{name}' is not applied"));
                }
            }
        }
        Ok(())
    }

    fn build_key(&mut self, property: &Property<'_, '_>, key: &str) -> Result<()> {
        let Some(text) = self.expanded(property, Side::Host)? else { return Ok(()) };
        if key == "target" {
            self.found.config.build.target = Some(property.located(crate::build::stage(&text))?);
            return Ok(());
        }
        property.located(crate::workspace::host_path(&text))?;
        let path = Some(joined(self.project.folder, &text));
        let build = &mut self.found.config.build;
        match key {
            "dockerfile" => build.dockerfile = path,
            _ => build.context = path,
        }
        Ok(())
    }

    fn environment(&mut self, property: &Property<'_, '_>) -> Result<()> {
        for part in property.properties()? {
            if matches!(part.value, Value::NullKeyword(_)) {
                continue;
            }
            let Some(value) = self.inside(&part)? else { continue };
            let variable = part.located(EnvVar::new(part.name, &value))?;
            let env = &mut self.found.config.env;
            // remoteEnv wins over containerEnv, wherever it stands.
            match env.iter_mut().find(|known| known.key() == variable.key()) {
                Some(known) if property.name == "remoteEnv" => *known = variable,
                Some(_) => {}
                None => env.push(variable),
            }
        }
        Ok(())
    }

    fn account(&mut self, property: &Property<'_, '_>) -> Result<Option<Account>> {
        let Some(text) = self.inside(property)? else { return Ok(None) };
        property.located(text.parse()).map(Some)
    }

    fn mount(&mut self, property: &Property<'_, '_>) -> Result<()> {
        let written = mount::read(property)?;
        let mut texts = [written.source.clone().unwrap_or_default(), written.target.clone()];
        for (text, side) in texts.iter_mut().zip([Side::Host, Side::Inside]) {
            match expand(text, side, self.project) {
                Expanded::Text(known) => *text = known,
                Expanded::Needs(variable) => {
                    let variable = printable(&shortened(&variable));
                    self.note(property, &format!("a mount is left out: {variable} is not known here"));
                    return Ok(());
                }
            }
        }
        let [source, target] = texts;
        let source = match (written.kind.as_str(), source.as_str()) {
            ("bind", path) if !path.contains('/') && !matches!(path, "." | "..") => format!("./{path}"),
            ("bind", _) => source,
            ("volume", name)
                if !name.is_empty()
                    && !name.contains('/')
                    && name.parse::<agentkernel_model::name::VolumeName>().is_ok() =>
            {
                source
            }
            (kind, _) => {
                let kind = printable(&shortened(kind));
                self.note(
                    property,
                    &format!("a mount of type {kind} is left out: bind and named volumes are mounted"),
                );
                return Ok(());
            }
        };
        let target: GuestPath = property.located(target.parse())?;
        let request = property.located(MountRequest::new(&source, target, written.access))?;
        self.found.config.mounts.push(request);
        Ok(())
    }

    fn port(&mut self, property: &Property<'_, '_>) -> Result<()> {
        let text = match property.value {
            Value::NumberLit(number) => number.value,
            _ => property.string()?,
        };
        // HOST:PORT with a name is a port of another container.
        if text.split_once(':').is_some_and(|(host, _)| host.parse::<u16>().is_err()) {
            let shown = printable(&shortened(text));
            self.note(property, &format!("port {shown} is left out: there is no other container"));
            return Ok(());
        }
        let port: PublishedPort = property.located(text.parse())?;
        if !self.found.config.ports.contains(&port) {
            self.found.config.ports.push(port);
        }
        Ok(())
    }

    /// The project is at `/workspace`, whatever the file calls the place.
    fn folder(&mut self, property: &Property<'_, '_>) -> Result<()> {
        let Some(text) = self.inside(property)? else { return Ok(()) };
        let path: GuestPath = property.located(text.parse())?;
        let below = |root: &str| {
            let rest = path.as_str().strip_prefix(root)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
        };
        let usual = format!("/workspaces/{}", self.project.name);
        match below(Workspace::TARGET).or_else(|| below(&usual)) {
            Some(rest) if rest.is_empty() => {}
            Some(rest) => {
                self.found.config.workdir =
                    Some(property.located(format!("{}{rest}", Workspace::TARGET).parse())?);
            }
            None => self.note(
                property,
                &format!("'workspaceFolder' is left out: the project is at {}", Workspace::TARGET),
            ),
        }
        Ok(())
    }

    fn run_args(&mut self, property: &Property<'_, '_>) -> Result<()> {
        let items = property.items()?;
        let mut words = Vec::with_capacity(items.len());
        for item in &items {
            words.push(item.string()?);
        }
        for (index, found) in property::run_args(&words) {
            let item = &items[index];
            match found {
                RunArg::NoNetwork => self.found.config.network = Some(NetworkSwitch::Off),
                RunArg::LeftOut => {
                    let word = printable(&shortened(words[index]));
                    self.note(item, &format!("the argument {word} in 'runArgs' is not applied"));
                }
                RunArg::Narrower => return Err(narrower(item)),
            }
        }
        Ok(())
    }

    fn lifecycle(&mut self, property: &Property<'_, '_>) -> Result<()> {
        for mut command in script::commands(property)? {
            let mut unknown = None;
            for text in command.texts() {
                match expand(text, Side::Inside, self.project) {
                    Expanded::Text(known) => *text = known,
                    Expanded::Needs(variable) => unknown = Some(variable),
                }
            }
            if let Some(variable) = unknown {
                let variable = printable(&shortened(&variable));
                self.note(
                    property,
                    &format!("a command of '{}' is left out: {variable} is not known here", property.name),
                );
            } else if command.texts().iter().any(|text| !text.trim().is_empty()) {
                self.commands.push((property.name.to_owned(), command));
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, properties: &[Property<'_, '_>]) -> Result<DevContainer> {
        let [container, remote] = self.users;
        let config = &mut self.found.config;
        config.user = remote.or(container);
        if config.build.dockerfile.is_some() && config.build.context.is_none() {
            config.build.context = Some(joined(self.project.folder, "."));
        }
        self.commands.sort_by_key(|(name, _)| COMMANDS.iter().position(|known| known == name));
        if let Some(script) = script::script(&self.commands) {
            let named = |property: &&Property<'_, '_>| COMMANDS.contains(&property.name);
            let bounded = bound::text(&script, bound::LONGEST_SCRIPT);
            let bounded = match properties.iter().find(named) {
                Some(property) => property.located(bounded)?,
                None => bounded?,
            };
            config.init_script = Some(bounded.to_owned());
        }
        Ok(self.found)
    }
}

/// The refusal of something that takes a right away.
fn narrower(item: &Property<'_, '_>) -> Error {
    let word = item.string().map_or_else(|_| String::new(), |word| printable(&shortened(word)));
    item.source.unsupported(item.span(), format!("{word} in '{}' cannot be applied", item.name)).with_hint(
        "without it the sandbox would be wider than the file says: take it out and use --profile restrictive",
    )
}

/// Whether a property says nothing, as `"privileged": false` does.
fn is_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::NullKeyword(_) => true,
        Value::BooleanLit(flag) => !flag.value,
        Value::Array(array) => array.elements.is_empty(),
        Value::Object(object) => object.properties.is_empty(),
        Value::StringLit(_) | Value::NumberLit(_) => false,
    }
}

/// `path` of a file in `folder`, as seen from the project's directory. What leaves it begins with `..`.
fn joined(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}
