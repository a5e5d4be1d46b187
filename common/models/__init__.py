"""Registry of classifiers: per-sample-gradient safe, no buffer that follows the data."""

from common.models.classifier import Classifier as Classifier
from common.models.classifier import Inputs as Inputs
from common.models.cnn import CNN as CNN
from common.models.densenet import DenseNet121 as DenseNet121
from common.models.evidence import evidence_map as evidence_map
from common.models.mobilenet import MobileNet as MobileNet
from common.models.normalisation import normalisation_names as normalisation_names
from common.models.registry import MODELS as MODELS
from common.models.registry import build_model as build_model
from common.models.resnet import ResNet18 as ResNet18
from common.models.scatter import Scatter as Scatter
from common.models.wsnet import WSNet as WSNet
