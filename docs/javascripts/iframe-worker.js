// Browsers refuse workers from the disk, so run the search's worker in a hidden frame there. Material's offline plugin
// would load a script of this name from a server.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.onmessage = this.onerror = null
      this.queue = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.window = frame.contentWindow
      this.window.postMessage = data => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      }
      this.window.importScripts = (...urls) => Promise.all(urls.map(each => this.load(each)))
      this.load(url).then(() => {
        this.queue.forEach(data => this.send(data))
        this.queue = null
      })
    }

    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.window.document.createElement("script")
        script.src = url
        script.onload = resolve
        script.onerror = reject
        this.window.document.body.appendChild(script)
      })
    }

    send(data) {
      this.window.dispatchEvent(new this.window.MessageEvent("message", { data }))
    }

    postMessage(data) {
      this.queue ? this.queue.push(data) : this.send(data)
    }

    terminate() {
      this.window.frameElement.remove()
    }
  }
}
