//! Connection: one client's connection, with the request it has and the link to the app that the
//! request is on.
//!
//! One task drives all of it.  Nothing here is shared with another thread but the meter's type.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Extensions, HeaderValue, Request};
use hyper::body::{Body, Frame, Incoming};
use hyper::ext::on_informational;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::proxy::body::ResponseBody;
use crate::proxy::client::{ClientStream, Coming};
use crate::proxy::exchange;
use crate::proxy::gate::Gate;
use crate::proxy::headers;
use crate::proxy::limits::Limits;
use crate::proxy::link::Link;
use crate::proxy::meter::{Activity, Meter};
use crate::proxy::refusal;
use crate::proxy::seen::{Seen, Wait};
use crate::proxy::upgrade::Splice;
use crate::proxy::upstream::Claim;
use crate::proxy::worker::Worker;

/// How long a client that has connected and said nothing yet may still begin when the proxy ends.
const GRACE: Duration = Duration::from_secs(1);

/// How often a task polls again at once before it lets others run.
const ROUNDS: usize = 8;

pub(super) struct Connection {
    worker: Rc<Worker>,
    client: HeaderValue,
    meter: Arc<Meter>,
    gate: OnceCell<(Arc<Gate>, Waker)>,
    order: Cell<Order>,
    leaving: Cell<bool>,
    finishing: Cell<bool>,
    /// It has had no request for so long that it needs nothing for one.
    folding: Cell<bool>,
    requests: Cell<u32>,
    seen: Cell<Seen>,
    claim: RefCell<Option<Claim>>,
    link: RefCell<Option<Box<Link>>>,
    splice: RefCell<Option<Splice>>,
    uploading: Cell<bool>,
    starved: Cell<bool>,
    unread: Cell<bool>,
    spoiled: Cell<bool>,
    is_local: bool,
    interim: RefCell<Option<Extensions>>,
}

/// What the connection's task was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Go,
    /// The app takes too long; answer that, if there is no answer yet.
    GiveUp,
    /// End now.
    Cut,
}

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, client: IpAddr) -> Rc<Connection> {
        let is_local = client.to_canonical().is_loopback();
        let client = HeaderValue::from_str(&client.to_canonical().to_string())
            .unwrap_or(HeaderValue::from_static("unknown"));
        let meter = worker.crowd().meter();
        Rc::new(Connection {
            worker,
            client,
            meter,
            gate: OnceCell::new(),
            order: Cell::new(Order::Go),
            leaving: Cell::new(false),
            finishing: Cell::new(false),
            folding: Cell::new(false),
            requests: Cell::new(0),
            seen: Cell::new(Seen::new()),
            claim: RefCell::new(None),
            link: RefCell::new(None),
            splice: RefCell::new(None),
            uploading: Cell::new(false),
            starved: Cell::new(false),
            unread: Cell::new(false),
            spoiled: Cell::new(false),
            is_local,
            interim: RefCell::new(None),
        })
    }

    /// Serves the connection to its end.
    pub(super) async fn run(self: Rc<Self>, stream: TcpStream) {
        let mut stream = ClientStream::new(stream, Arc::clone(&self.meter));
        while self.is_to_be_served(&mut stream).await {
            // Boxed: a connection that only waits takes little.
            match Box::pin(self.serve(stream)).await {
                Some(again) => stream = again,
                None => break,
            }
        }
        self.release(false);
    }

    /// Waits for a head.  Returns false if there will be none, or it is refused.
    async fn is_to_be_served(&self, stream: &mut ClientStream) -> bool {
        let coming = poll_fn(|context| {
            self.gate(context).enter();
            if self.order.get() != Order::Go || self.is_over() {
                return Poll::Ready(Coming::End);
            }
            stream.poll_head(context, &mut self.worker.desk().borrow_mut())
        });
        if coming.await == Coming::Head {
            return true;
        }
        if self.meter.waits_for_room() && self.order.get() == Order::GiveUp {
            let page = refusal::no_room();
            self.unless_cut(stream.end_with(&page, self.worker.desk())).await;
        }
        false
    }

    /// Whether nothing is lost if the connection ends now, and it should.
    fn is_over(&self) -> bool {
        let gives_way = self.meter.gives_way();
        match self.meter.activity() {
            Activity::Idle => gives_way || self.finishing.get(),
            Activity::Head => gives_way && self.meter.progress() == 0,
            Activity::Busy | Activity::Upgraded => false,
        }
    }

    /// Has hyper serve it, until it ends or has rested for a while.  `None`: it has ended.
    async fn serve(self: &Rc<Self>, stream: ClientStream) -> Option<ClientStream> {
        let http = self.worker.http(stream.is_roomy());
        let connection = Rc::clone(self);
        let service = service_fn(move |request| exchange::serve(Rc::clone(&connection), request));
        let mut serving = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut closing = false;
        poll_fn(|context| self.poll(Pin::new(&mut serving), &mut closing, context)).await;
        // Whatever is left of the last request is dropped with the rest of the connection.
        let parts = serving.into_parts();
        if let Some(splice) = self.splice.take() {
            self.meter.enter(Activity::Upgraded);
            self.unless_cut(splice.run()).await;
            return None;
        }
        let (read, stream) = parts.map(|parts| (parts.read_buf, parts.io.into_inner()))?;
        let mut stream = if self.meter.is_kept() || stream.is_too_narrow() {
            // A copy: what was read takes up as much as the largest head since.
            let read = Bytes::copy_from_slice(&read);
            match stream.read_again(read, self.worker.limits().head_size) {
                Ok(stream) => {
                    self.meter.keep(false);
                    // Whatever stayed would lie where the next large head could.
                    self.interim.take();
                    self.meter.share().release();
                    return Some(stream);
                }
                Err(mut refused) => {
                    refused.end().await;
                    refused
                }
            }
        } else {
            // Nothing large stays while the client is waited for.
            drop(read);
            stream
        };
        if self.unread.get() || self.meter.was_refused() {
            self.unless_cut(stream.linger(self.worker.desk())).await;
        }
        None
    }

    async fn unless_cut(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        poll_fn(|context| match self.order.get() {
            Order::Cut => Poll::Ready(()),
            Order::Go | Order::GiveUp => work.as_mut().poll(context),
        })
        .await;
    }

    fn poll<S>(
        &self,
        mut serving: Pin<&mut UpgradeableConnection<TokioIo<ClientStream>, S>>,
        closing: &mut bool,
        context: &mut Context<'_>,
    ) -> Poll<()>
    where
        S: HttpService<Incoming, ResBody = ResponseBody>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let gate = self.gate(context);
        for _ in 0..ROUNDS {
            match self.order.get() {
                Order::Cut => return Poll::Ready(()),
                Order::Go | Order::GiveUp => {}
            }
            gate.enter();
            if serving.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let gives_way = self.meter.gives_way();
            if gives_way && self.meter.activity() == Activity::Head && self.meter.progress() == 0 {
                return Poll::Ready(());
            }
            // Only now, when what the client has sent so far is read: hyper closes a connection at
            // once between two requests and before the first, and drops a head that is not
            // complete.
            if (self.finishing.get() || gives_way)
                && !*closing
                && self.meter.activity() != Activity::Head
            {
                *closing = true;
                serving.as_mut().graceful_shutdown();
                continue;
            }
            if !*closing && self.folds() {
                *closing = true;
                self.meter.keep(true);
                serving.as_mut().graceful_shutdown();
                continue;
            }
            // While the client takes nothing of the answer, nobody else drives the rest of its
            // upload.
            if self.uploading.get() {
                self.drive_link();
            }
            if !gate.leave() {
                return Poll::Pending;
            }
        }
        gate.wake_task();
        Poll::Pending
    }

    fn gate(&self, context: &Context<'_>) -> &Arc<Gate> {
        let (gate, _) = self.gate.get_or_init(|| {
            let gate = Gate::new(context.waker());
            self.meter.hang_gate(&gate);
            let waker = Waker::from(Arc::clone(&gate));
            (gate, waker)
        });
        gate
    }

    /// Whether what hyper has for the connection goes, and the connection stays: it has rested for
    /// a while, or had a large head.
    fn folds(&self) -> bool {
        (self.folding.get() || self.meter.share().is_held())
            && self.meter.activity() == Activity::Idle
            // Otherwise hyper may still have something to do, or be about to close.
            && !self.meter.is_blocked()
            && !self.meter.has_aside()
            && !self.unread.get()
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Whether the client is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
    }

    /// What makes the app's interim answers reach the client.
    pub(super) fn interim(&self) -> Extensions {
        let make = || {
            let meter = Arc::clone(&self.meter);
            let mut request = Request::new(());
            on_informational(&mut request, move |answer| {
                meter.put_aside(&headers::interim(answer.status(), answer.headers()));
            });
            std::mem::take(request.extensions_mut())
        };
        self.interim.borrow_mut().get_or_insert_with(make).clone()
    }

    /// The address of the client, as a header's value.
    pub(super) fn client(&self) -> &HeaderValue {
        &self.client
    }

    /// A request has begun.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get().wrapping_add(1));
        self.meter.enter(Activity::Busy);
        self.spoiled.set(false);
        self.folding.set(false);
    }

    /// A request needs no instance any more; `reusable`: it has ended as it should.
    pub(super) fn release(&self, reusable: bool) {
        let link = self.link.take();
        let claim = self.claim.take();
        // Hyper keeps for each link what its largest head took.
        let reusable = reusable && !self.meter.share().is_held();
        if let (true, Some(link), Some(claim)) = (reusable, link, &claim) {
            self.worker.pool().put(claim.upstream(), link, self.worker.limits());
        }
        self.forget_wakes();
    }

    /// A request has ended.
    pub(super) fn end(&self) {
        self.meter.rest(self.worker.crowd().now());
    }

    pub(super) fn hold(&self, claim: Claim) {
        *self.claim.borrow_mut() = Some(claim);
    }

    pub(super) fn put_link(&self, link: Box<Link>) {
        *self.link.borrow_mut() = Some(link);
    }

    /// Calls `work` with the link that the request is on, if it is on one.
    pub(super) fn with_link<T>(&self, work: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.link.borrow_mut().as_deref_mut().map(work)
    }

    /// Takes the link out, for a splice.  The claim stays until the connection ends.
    pub(super) fn take_link(&self) -> Option<Box<Link>> {
        self.link.take()
    }

    /// What the connection goes on with after the answer.
    pub(super) fn hand_over(&self, splice: Splice) {
        *self.splice.borrow_mut() = Some(splice);
    }

    /// Writes to and reads from the link as much as there is.
    pub(super) fn drive_link(&self) {
        // During an upload the two sides wake each other, and no wake may be lost.
        if !self.uploading.get() {
            self.forget_wakes();
        }
        if let Some((_, waker)) = self.gate.get() {
            self.with_link(|link| link.drive(&mut Context::from_waker(waker)));
        }
    }

    /// The context for what comes from the link.
    pub(super) fn poll_inside<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        match self.gate.get() {
            Some((_, waker)) => poll(&mut Context::from_waker(waker)),
            None => Poll::Pending,
        }
    }

    pub(super) fn poll_link_body(
        &self,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.poll_inside(|context| Pin::new(body).poll_frame(context))
    }

    pub(super) fn set_uploading(&self, uploading: bool) {
        self.uploading.set(uploading);
    }

    /// Whether the app waits for more of the client's body.
    pub(super) fn set_starved(&self, starved: bool) {
        self.starved.set(starved);
    }

    /// Whether the client has more to send of its request.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.set(unread);
    }

    /// What the client sends is no body.
    pub(super) fn spoil(&self) {
        self.spoiled.set(true);
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled.get()
    }

    /// Something came from the app.
    pub(super) fn count(&self) {
        self.meter.count();
    }

    /// Whether the app was waited for too long.
    pub(super) fn gave_up(&self) -> bool {
        self.order.get() == Order::GiveUp
    }

    /// Ends the connection after its next answer, which says so: a client that sends a request just
    /// now loses nothing.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
    }

    /// Whether its answers say that they are the last.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Ends the connection after the current answer, or after the answer to what the client is
    /// about to send first.
    pub(super) fn finish(&self) {
        self.finishing.set(true);
        self.wake();
    }

    /// Ends the connection now.
    pub(super) fn cut(&self) {
        self.tell(Order::Cut);
    }

    /// Ends what takes too long, and what an instance that was cut still has.
    pub(super) fn look(&self, now: Instant, limits: &Limits) {
        let orphaned = |claim: &Claim| claim.upstream().is_cut();
        if self.claim.borrow().as_ref().is_some_and(orphaned) {
            return self.cut();
        }
        let (wait, limit) = self.waiting(limits);
        let (progress, requests) = (self.meter.progress(), self.requests.get());
        let seen = self.seen.get();
        // A head must be complete in time, however often a byte of it comes.
        let moved = progress != seen.progress && wait != Wait::Head;
        if wait != seen.wait || requests != seen.requests || moved {
            return self.seen.set(Seen { wait, progress, requests, since: now });
        }
        let time = now.saturating_duration_since(seen.since);
        if wait == Wait::Request && time >= limits.kept && !self.folding.replace(true) {
            self.wake();
        }
        if wait == Wait::Nobody || time < limit {
            return;
        }
        tracing::debug!(client = ?self.client, ?wait, "took too long");
        let waits = wait == Wait::App || (wait == Wait::Head && self.meter.waits_for_room());
        if waits && !self.gave_up() {
            return self.tell(Order::GiveUp);
        }
        self.cut();
    }

    fn waiting(&self, limits: &Limits) -> (Wait, Duration) {
        let blocked = self.meter.is_blocked();
        match self.meter.activity() {
            Activity::Idle | Activity::Busy if blocked => (Wait::Client, limits.stalled),
            Activity::Idle => (Wait::Request, limits.idle),
            Activity::Head if self.finishing.get() && self.meter.progress() == 0 => {
                (Wait::Head, GRACE)
            }
            Activity::Head => (Wait::Head, limits.head),
            Activity::Busy if self.starved.get() => (Wait::Client, limits.stalled),
            Activity::Busy => (Wait::App, limits.silent),
            Activity::Upgraded => (Wait::Nobody, limits.silent),
        }
    }

    fn tell(&self, order: Order) {
        if self.order.get() == Order::Cut {
            return;
        }
        self.order.set(order);
        self.wake();
    }

    fn wake(&self) {
        if let Some((gate, _)) = self.gate.get() {
            gate.wake_task();
        }
    }

    fn forget_wakes(&self) {
        if let Some((gate, _)) = self.gate.get() {
            gate.forget();
        }
    }
}
