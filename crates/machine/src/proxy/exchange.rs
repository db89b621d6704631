//! Exchange: one request, from the choice of an instance to the end of the answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::proxy::access::Access;
use crate::proxy::body::{RequestBody, ResponseBody};
use crate::proxy::connection::Connection;
use crate::proxy::headers::{self, Sender};
use crate::proxy::link::{Link, Unanswered};
use crate::proxy::pages::{self, Reader};
use crate::proxy::routes::{Found, Label, Vacancy};
use crate::proxy::upgrade::Splice;
use crate::proxy::upstream::{Claim, Upstream};

/// How many instances, or connections to one, a request is tried on.
const TRIES: usize = 3;

/// Answers one request.
pub(super) async fn serve(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    connection.begin();
    connection.set_unread(!request.body().is_end_stream());
    let mut access = Access::begin(request.method(), request.uri());
    let is_old = request.version() == Version::HTTP_10;
    let mut response = answer(&connection, request, &mut access).await;
    if is_old && response.headers_mut().remove(CONNECTION).is_some() {
        // Hyper would add that it is kept; an old answer that does not say so ends it.
        *response.version_mut() = Version::HTTP_10;
    }
    if let Some(access) = &mut access {
        access.status(response.status());
    }
    if connection.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match response.body_mut() {
        ResponseBody::Page(_) => connection.end(),
        ResponseBody::Stream(stream) => stream.log(access),
    }
    Ok(response)
}

async fn answer(
    connection: &Rc<Connection>,
    request: Request<Incoming>,
    access: &mut Option<Access>,
) -> Response<ResponseBody> {
    let (mut parts, body) = request.into_parts();
    let host = match headers::host(&mut parts) {
        Ok(Some(host)) => host,
        Ok(None) => HeaderValue::from_static(""),
        Err((status, why)) => return own(pages::refused(status, why)),
    };
    let reader = Reader::of(&parts.headers, connection.is_local());
    let Some(app) = connection.worker().routes().app_of(host.as_bytes()) else {
        return own(pages::unknown(host.as_bytes(), reader));
    };
    if let Some(access) = access {
        access.app(app.as_str());
    }
    let version = parts.version;
    let upgradable = body.is_end_stream();
    let sender = Sender {
        client: connection.client(),
        is_balancer: connection.worker().routes().are_behind_balancer(),
    };
    let upgrade = match headers::forward(&mut parts, sender, &host, upgradable) {
        Ok(true) => parts.extensions.remove::<OnUpgrade>(),
        Ok(false) => {
            parts.extensions.clear();
            None
        }
        Err((status, why)) => return own(pages::refused(status, why)),
    };
    let body = RequestBody::new(body, Rc::clone(connection));
    let mut tries = Tries::new(app, version);
    let answered = tries.answer(connection, parts, body).await;
    if let (Some(access), Some(upstream)) = (access, &tries.upstream) {
        access.upstream(upstream.id());
    }
    let why = match answered {
        Ok((response, exchange)) => match pass_on(response, exchange, upgrade, version) {
            Some(response) => return response,
            None => NoAnswer::Broken,
        },
        Err(why) => why,
    };
    own(match why {
        NoAnswer::Unknown => pages::unknown(host.as_bytes(), reader),
        NoAnswer::Nobody(why) => pages::nobody(app.as_str(), why, reader),
        NoAnswer::Silent => pages::silent(app.as_str(), reader),
        NoAnswer::Broken => pages::failed(app.as_str(), reader),
        NoAnswer::Unreadable => pages::unreadable(app.as_str(), reader),
        NoAnswer::Spoiled => {
            pages::refused(StatusCode::BAD_REQUEST, "The body of the request is broken.\n")
        }
    })
}

fn own(page: Response<Bytes>) -> Response<ResponseBody> {
    page.map(ResponseBody::page)
}

/// `None`: the answer cannot be passed on.
fn pass_on(
    response: Response<Incoming>,
    exchange: Exchange,
    upgrade: Option<OnUpgrade>,
    version: Version,
) -> Option<Response<ResponseBody>> {
    let (mut parts, body) = response.into_parts();
    headers::backward(&mut parts);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it, or for what it leads to.
        if !exchange.hand_over(upgrade.filter(|_| headers::is_upgrade(&parts.headers))?) {
            return None;
        }
        parts.extensions.clear();
        return Some(Response::from_parts(parts, ResponseBody::empty()));
    }
    // Only the end of the connection tells an old client where such an answer ends.
    if version == Version::HTTP_10 && body.size_hint().exact().is_none() {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(Response::from_parts(parts, ResponseBody::stream(body, exchange)))
}

/// Why there is no answer of the app.
enum NoAnswer {
    /// There is no such app.
    Unknown,
    /// It has no instance that takes requests.
    Nobody(Vacancy),
    /// It had the request for too long.
    Silent,
    /// It cannot be connected to, or did not answer.
    Broken,
    /// It answered something that is no HTTP.
    Unreadable,
    /// The client's body is none.
    Spoiled,
}

/// The attempts at one request.
struct Tries {
    app: Label,
    /// What the client speaks.
    version: Version,
    count: usize,
    tried: Vec<Upstream>,
    /// The one that was tried last.
    upstream: Option<Upstream>,
    /// Whether a connection from the pool has failed, so that the next one should be new.
    stale: bool,
}

impl Tries {
    fn new(app: Label, version: Version) -> Self {
        Tries { app, version, count: 0, tried: Vec::new(), upstream: None, stale: false }
    }

    async fn answer(
        &mut self,
        connection: &Rc<Connection>,
        parts: Parts,
        body: RequestBody,
    ) -> Result<(Response<Incoming>, Exchange), NoAnswer> {
        let replayable = body.is_end_stream() && parts.method.is_idempotent();
        let (spare, method) = (replayable.then(|| parts.clone()), parts.method.clone());
        let mut request = Request::from_parts(parts, body);
        loop {
            let exchange = self.choose(connection)?;
            let Some(link) = self.link(&exchange, replayable).await else {
                self.failed()?;
                continue;
            };
            let pooled = link.is_pooled();
            if self.version == Version::HTTP_11 {
                // Old clients know of no interim answers.
                *request.extensions_mut() = connection.interim();
            }
            match exchange.send(link, request).await? {
                Ok(response) => return Ok((response, exchange)),
                Err(mut unanswered) => {
                    tracing::debug!(error = ?unanswered.error(), "no answer");
                    if connection.is_spoiled() {
                        return Err(NoAnswer::Spoiled);
                    }
                    if unanswered.error().is_parse() {
                        // Boxed: it is rare, as above.
                        let read = self.read_again(&exchange, method, unanswered.into_error());
                        return Ok((Box::pin(read).await?, exchange));
                    }
                    request = match (unanswered.take_message(), &spare) {
                        // Not a byte of it was written.
                        (Some(request), _) => request,
                        (None, Some(spare)) => {
                            let body = RequestBody::none(Rc::clone(connection));
                            Request::from_parts(spare.clone(), body)
                        }
                        (None, None) => return Err(NoAnswer::Broken),
                    };
                    if pooled && !self.stale {
                        // The app closed a connection it had done with; that says nothing about the
                        // app.
                        self.stale = true;
                        continue;
                    }
                    self.failed()?;
                }
            }
        }
    }

    fn choose(&mut self, connection: &Rc<Connection>) -> Result<Exchange, NoAnswer> {
        match connection.worker().routes().claim(&self.app, &self.tried) {
            Found::Claimed(claim) => {
                self.upstream = Some(claim.upstream().clone());
                Ok(Exchange::begin(Rc::clone(connection), claim))
            }
            Found::Unknown => Err(NoAnswer::Unknown),
            Found::Nobody(_) if self.count > 0 => Err(NoAnswer::Broken),
            Found::Nobody(why) => Err(NoAnswer::Nobody(why)),
        }
    }

    async fn link(&self, exchange: &Exchange, replayable: bool) -> Option<Box<Link>> {
        let worker = exchange.connection.worker();
        let upstream = self.upstream.as_ref()?;
        if !self.stale
            && let Some(link) = worker.pool().take(upstream, replayable, worker.limits())
        {
            return Some(link);
        }
        // Boxed: it is rare, and would make every request's future larger.
        match Box::pin(Link::connect(upstream, worker.limits())).await {
            Ok(link) => Some(Box::new(link)),
            Err(error) => {
                tracing::debug!(upstream = upstream.id(), %error, "cannot connect");
                None
            }
        }
    }

    /// Reads an answer again that had too many headers for the usual room, or tells that it is no
    /// HTTP.
    async fn read_again(
        &self,
        exchange: &Exchange,
        method: Method,
        mut error: hyper::Error,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let connection = &exchange.connection;
        let link = connection.take_link().filter(|_| error.is_parse_too_large());
        if let Some(link) = link
            && let Some(link) = link.answer_again(connection.worker().limits()).await
        {
            let mut request = Request::new(RequestBody::none(Rc::clone(connection)));
            // Whether there is a body depends on it.
            *request.method_mut() = method;
            if self.version == Version::HTTP_11 {
                *request.extensions_mut() = connection.interim();
            }
            match exchange.send(Box::new(link), request).await? {
                Ok(response) => {
                    self.upstream.iter().for_each(Upstream::found_wordy);
                    return Ok(response);
                }
                Err(unanswered) => error = unanswered.into_error(),
            }
        }
        if !error.is_parse() {
            return Err(NoAnswer::Broken);
        }
        let upstream = self.upstream.as_ref().map_or("", Upstream::id);
        connection.worker().warn_of_answer(self.app.as_str(), upstream, &error);
        Err(NoAnswer::Unreadable)
    }

    fn failed(&mut self) -> Result<(), NoAnswer> {
        self.count += 1;
        if self.count == TRIES {
            return Err(NoAnswer::Broken);
        }
        self.tried.extend(self.upstream.clone());
        Ok(())
    }
}

/// A request that an instance was chosen for.  When dropped, the instance is free of it.
pub(super) struct Exchange {
    connection: Rc<Connection>,
    handed_over: bool,
}

impl Exchange {
    fn begin(connection: Rc<Connection>, claim: Claim) -> Self {
        connection.hold(claim);
        Exchange { connection, handed_over: false }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The answer has ended as it should: the link can have another request.
    pub(super) fn finish(&self) {
        self.connection.release(true);
        self.connection.end();
    }

    /// Sends the request and waits for the head of the answer.
    async fn send(
        &self,
        mut link: Box<Link>,
        request: Request<RequestBody>,
    ) -> Result<Result<Response<Incoming>, Unanswered>, NoAnswer> {
        let mut answer = pin!(link.send(request));
        self.connection.put_link(link);
        poll_fn(|_| {
            if self.connection.gave_up() {
                return Poll::Ready(Err(NoAnswer::Silent));
            }
            // What the app has sent ahead of its answer goes out ahead of it; the flush wakes.
            if self.connection.meter().has_aside() {
                return Poll::Pending;
            }
            self.connection.drive_link();
            if self.connection.meter().has_aside() {
                return Poll::Pending;
            }
            let mut poll = || self.connection.poll_inside(|context| answer.as_mut().poll(context));
            let mut polled = poll();
            if polled.is_pending() && self.connection.with_link(Link::bury).unwrap_or_default() {
                polled = poll();
            }
            polled.map(Ok)
        })
        .await
    }

    /// The connection goes on as a splice.  Returns false if the link does not.
    fn hand_over(mut self, client: OnUpgrade) -> bool {
        // The link ends with the head that was read; this makes sure that it has noticed.
        self.connection.drive_link();
        let link = self.connection.take_link();
        let Some(splice) = link.and_then(|link| Splice::new(client, *link)) else { return false };
        self.connection.hand_over(splice);
        self.handed_over = true;
        true
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.handed_over {
            self.connection.release(false);
        }
    }
}
