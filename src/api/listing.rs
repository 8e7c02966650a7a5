//! The account's long-lived tokens, page by page.

use super::asked::Auth;
use super::client::Client;
use super::endpoint::Endpoint;
use super::error::{ApiError, Distrust};
use super::wire::{TokenPage, TokenRecord};
use http::Method;
use std::collections::VecDeque;
use std::fmt;

/// The most records BitGo puts on one page.
const PAGE_MAX: u16 = 200;
/// The most pages a listing is followed: 20 000 tokens.
const PAGES_MAX: usize = 100;

/// In which order tokens are listed: by when they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Oldest first, as BitGo lists unless it is asked otherwise.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// Which page of a listing is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many records, at most 200.
    pub limit: u16,
    /// Where it starts: [`TokenPage::next`] of the page before.
    pub prev_id: Option<Box<str>>,
    /// In which order.
    pub sort: Sort,
}

impl Default for Page {
    /// The first page, as large as BitGo makes it, oldest first.
    fn default() -> Self {
        Self { limit: PAGE_MAX, prev_id: None, sort: Sort::Ascending }
    }
}

impl Page {
    /// Path and query by which it is asked for.
    fn target(&self, path: &str) -> Result<String, ApiError> {
        let mut target = format!("{path}?limit={}", self.limit.clamp(1, PAGE_MAX));
        if let Some(cursor) = &self.prev_id {
            // It comes from the server: nothing but a word may enter the query.
            if !cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
                return Err(ApiError::Unsendable("the cursor is no word"));
            }
            target.extend(["&prevId=", cursor]);
        }
        if self.sort == Sort::Descending {
            target.push_str("&sort=DESC");
        }
        Ok(target)
    }
}

/// A listing that is read as far as it is wanted: a page is fetched when its first record is.
///
/// ```no_run
/// # use bitgo_vault::api::{ApiError, Auth, Client, Page};
/// # async fn find(client: &Client, auth: Auth<'_>) -> Result<bool, ApiError> {
/// let mut tokens = client.tokens(auth, Page::default());
/// while let Some(record) = tokens.next().await {
///     if record?.label.as_deref() == Some("market-maker") {
///         return Ok(true);
///     }
/// }
/// # Ok(false) }
/// ```
pub struct Tokens<'a> {
    client: &'a Client,
    auth: Auth<'a>,
    page: Page,
    read: VecDeque<TokenRecord>,
    pages: usize,
    is_over: bool,
}

impl fmt::Debug for Tokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Tokens<'_> {
    /// The next record; `None` after the last. After an error nothing more comes.
    ///
    /// # Errors
    /// [`Distrust::Endless`] after 100 pages or if the cursor stands still,
    /// [`ApiError::Unsendable`] if the cursor is no cursor, and what any call may meet.
    pub async fn next(&mut self) -> Option<Result<TokenRecord, ApiError>> {
        loop {
            if let Some(record) = self.read.pop_front() {
                return Some(Ok(record));
            }
            if self.is_over {
                return None;
            }
            if let Err(error) = self.fetch().await {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), ApiError> {
        let target = self.page.target(self.client.settings.paths.of(Endpoint::AccessToken))?;
        let answer = self.client.repeatable(Method::GET, &target, Some(self.auth)).await?;
        let TokenPage { records, next } = answer.read(TokenPage::parse)?;
        self.pages += 1;
        if next.is_some() && (next == self.page.prev_id || self.pages == PAGES_MAX) {
            return Err(answer.untrusted(Distrust::Endless));
        }
        self.read.extend(records);
        self.is_over = next.is_none();
        self.page.prev_id = next;
        Ok(())
    }
}

impl Client {
    /// Fetches one page of the account's living long-lived tokens.
    ///
    /// # Errors
    /// [`ApiError::Unsendable`] if the cursor is no cursor, and what any call may meet.
    pub async fn list_tokens(&self, auth: Auth<'_>, page: &Page) -> Result<TokenPage, ApiError> {
        let target = page.target(self.settings.paths.of(Endpoint::AccessToken))?;
        self.repeatable(Method::GET, &target, Some(auth)).await?.read(TokenPage::parse)
    }

    /// Begins to list the account's living long-lived tokens, from `page` on.
    pub fn tokens<'a>(&'a self, auth: Auth<'a>, page: Page) -> Tokens<'a> {
        let read = VecDeque::new();
        Tokens { client: self, auth, page, read, pages: 0, is_over: false }
    }

    /// Fetches every page of the account's living long-lived tokens.
    ///
    /// # Errors
    /// As [`Tokens::next`].
    pub async fn all_tokens(&self, auth: Auth<'_>) -> Result<Vec<TokenRecord>, ApiError> {
        let mut records = Vec::new();
        let mut tokens = self.tokens(auth, Page::default());
        while let Some(record) = tokens.next().await {
            records.push(record?);
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_in_full_and_by_words_only() {
        let target = |limit, prev_id: Option<&str>, sort| {
            Page { limit, prev_id: prev_id.map(Into::into), sort }.target("/t")
        };
        for (limit, prev_id, sort, expect) in [
            (200, None, Sort::Ascending, "/t?limit=200"),
            (0, None, Sort::Ascending, "/t?limit=1"),
            (201, Some("a-_9"), Sort::Ascending, "/t?limit=200&prevId=a-_9"),
            (2, Some("ab"), Sort::Descending, "/t?limit=2&prevId=ab&sort=DESC"),
        ] {
            assert_eq!(target(limit, prev_id, sort).unwrap(), expect);
        }
        assert!(target(1, Some("x&admin=true"), Sort::Ascending).is_err());
    }
}
