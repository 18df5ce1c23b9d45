// model_program MODEL_FOLDER OUTPUT_FOLDER INPUT.bin... : infers raw arrays, request after request.
//
// INPUT.bin has the values of an input, in the type and the shape of config.hpp, for any number of
// requests. OUTPUT_FOLDER gets 0.bin, 1.bin ... of the outputs. The report is on stdout.
#include <algorithm>
#include <chrono>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "model.hpp"

namespace {

constexpr int least_runs = 20;

std::vector<char> read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) {
        throw std::runtime_error("cannot read " + path);
    }
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

double infer_ms(Model& model, const std::vector<ov::Tensor>& inputs) {
    const auto start = std::chrono::steady_clock::now();
    model.infer(inputs);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
}

void run(const std::string& folder, const std::string& out, const std::vector<std::string>& paths) {
    Model model(folder);
    const auto& ports = model.compiled().inputs();
    if (ports.size() != paths.size()) {
        throw std::runtime_error("the model has " + std::to_string(ports.size()) + " inputs");
    }
    std::vector<std::vector<char>> values;
    std::vector<ov::Tensor> inputs;
    size_t count = 0;
    for (size_t i = 0; i < ports.size(); ++i) {
        values.push_back(read_file(paths[i]));
        inputs.emplace_back(ports[i].get_element_type(), ov::Shape(config::shapes()[i]));
        const size_t size = inputs[i].get_byte_size();
        if (size == 0 || values[i].empty() || values[i].size() % size != 0) {
            throw std::runtime_error(paths[i] + " is not a number of requests of " +
                                     std::to_string(size) + " bytes");
        }
        count = i == 0 ? values[i].size() / size : std::min(count, values[i].size() / size);
    }
    std::vector<std::ofstream> streams;
    for (size_t i = 0; i < model.compiled().outputs().size(); ++i) {
        streams.emplace_back(out + "/" + std::to_string(i) + ".bin", std::ios::binary);
    }
    for (size_t request = 0; request < count; ++request) {
        for (size_t i = 0; i < inputs.size(); ++i) {
            const size_t size = inputs[i].get_byte_size();
            const char* start = values[i].data() + request * size;
            std::copy(start, start + size, static_cast<char*>(inputs[i].data()));
        }
        const auto outputs = model.infer(inputs);
        for (size_t i = 0; i < outputs.size(); ++i) {
            streams[i].write(static_cast<const char*>(outputs[i].data()),
                             static_cast<std::streamsize>(outputs[i].get_byte_size()));
            if (request == 0) {
                std::cout << "output " << i << " " << outputs[i].get_element_type();
                for (const size_t dimension : outputs[i].get_shape()) {
                    std::cout << " " << dimension;
                }
                std::cout << "\n";
            }
        }
    }
    for (auto& stream : streams) {
        stream.flush();
        if (!stream) {
            throw std::runtime_error("cannot write into " + out);
        }
    }
    std::vector<double> times;
    for (int i = 0; i < least_runs; ++i) {
        times.push_back(infer_ms(model, inputs));
    }
    std::nth_element(times.begin(), times.begin() + least_runs / 2, times.end());
    std::cout << "latency_ms " << times[least_runs / 2] << " " << least_runs << "\n";
    const auto known = model.compiled().get_property(ov::supported_properties);
    for (const auto& [name, value] : config::properties()) {
        if (std::find(known.begin(), known.end(), name) != known.end()) {
            std::cout << "property " << name << " "
                      << model.compiled().get_property(name).as<std::string>() << "\n";
        }
    }
}

}  // namespace

int main(int count, char* arguments[]) {
    if (count < 4) {
        std::cerr << "usage: model_program MODEL_FOLDER OUTPUT_FOLDER INPUT.bin...\n";
        return 2;
    }
    try {
        run(arguments[1], arguments[2], {arguments + 3, arguments + count});
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
