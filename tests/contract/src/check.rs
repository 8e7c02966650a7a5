//! Exchanges held against the schemas.

use crate::openapi::OpenApi;
use crate::route::{ROUTES, Route};
use bitgo_vault::emulator::Exchange;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

/// What has been checked, and what did not fit.
pub(crate) struct Check {
    api: OpenApi,
    /// By what they are of: a route and a part of it.
    validators: BTreeMap<String, Validator>,
    pub(crate) exchanges: usize,
    pub(crate) requests: usize,
    pub(crate) answers: usize,
    asked: BTreeSet<usize>,
    pub(crate) wrong: Vec<String>,
}

impl Check {
    pub(crate) fn new(api: OpenApi) -> Self {
        Self {
            api,
            validators: BTreeMap::new(),
            exchanges: 0,
            requests: 0,
            answers: 0,
            asked: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    pub(crate) fn schemas(&self) -> usize {
        self.validators.len()
    }

    pub(crate) fn routes(&self) -> usize {
        self.asked.len()
    }

    /// The routes that nothing asked for successfully.
    pub(crate) fn unasked(&self) -> Vec<String> {
        let missing = (0..ROUTES.len()).filter(|index| !self.asked.contains(index));
        missing.map(|index| ROUTES[index].name()).collect()
    }

    pub(crate) fn exchange(&mut self, exchange: &Exchange) -> Result<(), Box<dyn Error>> {
        let Some(status) = status(&exchange.answer_head) else { return Ok(()) };
        let Some(index) = Route::of(exchange.method.as_str(), &exchange.target) else {
            self.wrong.push(format!("no route for {} {}", exchange.method, exchange.target));
            return Ok(());
        };
        let route = &ROUTES[index];
        self.exchanges += 1;
        // A refusal alone does not show a route.
        if (200..300).contains(&status) {
            self.asked.insert(index);
        }
        self.query(route, &exchange.target)?;
        self.request(route, &exchange.request_body)?;
        self.answer(route, status, &exchange.answer_body)
    }

    fn request(&mut self, route: &Route, body: &[u8]) -> Result<(), Box<dyn Error>> {
        let described = route.described.and_then(|path| self.api.operation(route.method, path));
        let schema = match described {
            Some(operation) => {
                let content = &operation["requestBody"]["content"]["application/json"];
                content.get("schema").cloned()
            }
            None => self.api.ours(&route.name(), "request").cloned(),
        };
        match (schema, body.is_empty()) {
            (Some(schema), false) => {
                self.requests += 1;
                self.fits(route, "request", &schema, body)
            }
            (Some(_), true) => self.fail(route, "request", "a body is missing"),
            (None, false) => self.fail(route, "request", "a body where none is described"),
            (None, true) => Ok(()),
        }
    }

    /// Every parameter of a query must be described, and have its shape.
    fn query(&mut self, route: &Route, target: &str) -> Result<(), Box<dyn Error>> {
        let Some((_, query)) = target.split_once('?') else { return Ok(()) };
        for (name, text) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let described = route.described.and_then(|path| self.api.operation(route.method, path));
            let parameters = described.and_then(|operation| operation["parameters"].as_array());
            let named = parameters.into_iter().flatten().filter_map(|part| self.api.resolved(part));
            let schema = named.clone().find(|part| part["in"] == "query" && part["name"] == name);
            let Some(schema) = schema.map(|part| part["schema"].clone()) else {
                self.fail(route, "query", &format!("{name} is not described"))?;
                continue;
            };
            let value = match (schema["type"].as_str(), text) {
                (Some("boolean"), "true" | "false") => json!(text == "true"),
                _ => json!(text),
            };
            let part = format!("query {name}");
            self.fits(route, &part, &schema, value.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn answer(&mut self, route: &Route, status: u16, body: &[u8]) -> Result<(), Box<dyn Error>> {
        let part = status.to_string();
        let described = route.described.and_then(|path| self.api.operation(route.method, path));
        let response = described.and_then(|operation| operation["responses"].get(&part));
        let response = response.and_then(|response| self.api.resolved(response));
        let schema = response.and_then(|response| {
            self.api.resolved(response)?["content"]["application/json"].get("schema")
        });
        // Where the file says nothing of a refusal it is held against the one shape there is.
        let refusal = (status >= 400).then(|| self.api.schema("PlatformError"));
        let schema = schema.or_else(|| self.api.ours(&route.name(), &part)).or(refusal);
        match schema.cloned() {
            Some(schema) => {
                self.answers += 1;
                self.fits(route, &part, &schema, body)
            }
            None => self.fail(route, &part, "nothing describes this answer"),
        }
    }

    fn fits(
        &mut self,
        route: &Route,
        part: &str,
        schema: &Value,
        body: &[u8],
    ) -> Result<(), Box<dyn Error>> {
        // The same route under its other paths has the same schema.
        let name = format!("{} {} {part}", route.method, route.described.unwrap_or(route.path));
        if !self.validators.contains_key(&name) {
            self.validators.insert(name.clone(), self.api.validator(schema)?);
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return self.fail(route, part, "it is no json");
        };
        let errors = self.validators[&name].iter_errors(&value);
        // The names of what is wrong, never the values: they hold tokens.
        let wrong: Vec<_> = errors
            .map(|error| format!("{} by {}", error.instance_path(), error.schema_path()))
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => self.fail(route, part, &wrong.join(", ")),
        }
    }

    fn fail(&mut self, route: &Route, part: &str, why: &str) -> Result<(), Box<dyn Error>> {
        let line = format!("{} {part}: {why}", route.name());
        if !self.wrong.contains(&line) {
            self.wrong.push(line);
        }
        Ok(())
    }
}

/// The status of an answer; `None` for one that never came.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.split(' ').nth(1)?.parse().ok()
}
