"""A page to try a network: `answers` computes the results for one picture, `server` serves the page to browsers, `static` writes a
page that needs no server, with the runtime that `litert_js` reads."""

from keras_resnet.demo.answers import Answers, page
from keras_resnet.demo.server import Server

__all__ = ["Answers", "Server", "page"]
