"""Registry of classifiers: per-sample-gradient safe, no buffer that follows the data."""

from common.models.cnn import CNN as CNN
from common.models.registry import MODELS as MODELS
from common.models.registry import build_model as build_model
from common.models.resnet import ResNet18 as ResNet18
from common.models.wsnet import WSNet as WSNet
