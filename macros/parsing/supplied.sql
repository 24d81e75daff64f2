{#- The text of a JSON field; null where the producer wrote a word for "nothing". Bare NaN and
    Infinity, which Python writes and JSON forbids, reach us in double quotes: taken off. -#}
{%- macro supplied(field) -%}
    case
        when lower(trim(both ' "' from {{ field }})) not in ('', '-', 'none', 'null')
            then trim(both ' "' from {{ field }})
    end
{%- endmacro -%}
